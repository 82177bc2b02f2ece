"""What the sandbox of a session elsewhere is to have beside its files, from the session as its server shows it (D.3).

Skills are below ``/workspace/skills``: the prompt of such a session names them from the working directory on, where the
SDK's worker has them. What cannot be had is left out and logged, as there: the session goes on without it. Memory
stores are where the server says, if that is below ``/mnt/memory``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from anthropic import APIStatusError

from agents.catalog.team import skills_of
from agents.errors import InvalidRequest
from agents.hands.port import Mount, MountKind
from agents.memory.attaching import mount_path
from agents.skills.choosing import skill_mounts
from agents.skills.frontmatter import checked_name
from agents.workers.remote_archives import MOST_ARCHIVE_BYTES
from agents.workers.transience import PASSING, is_final, pause, words

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types.beta.sessions import BetaManagedAgentsMemoryStoreResource

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_PAUSE_SECONDS = 10.0


async def mounts_of(client: AsyncAnthropic, session_id: str, kinds: Collection[MountKind]) -> tuple[Mount, ...]:
    """Return what a session's sandbox is to have, of these *kinds*; the caller bounds how long the server is asked.

    Raises APIStatusError when it refuses to show the session.
    """
    session = await _patiently(lambda: client.beta.sessions.retrieve(session_id))
    skills = skills_of(session.agent.to_dict(warnings=False))
    stores = [each for each in session.resources if each.type == "memory_store"]
    for kind, wanted in (("skill", skills), ("memory", stores)):
        if wanted and kind not in kinds:
            logger.warning("session %s has mounts that its sandbox here does not get: %s", session_id, kind)
            wanted.clear()
    found = [await _skill(client, each) for each in skills]
    return (*skill_mounts(each for each in found if each is not None), *_memory(stores))


def _memory(stores: Iterable[BetaManagedAgentsMemoryStoreResource]) -> list[Mount]:
    """Return the mounts of a session's stores, each in a directory of its own."""
    found: dict[str, Mount] = {}
    for each in stores:
        name = each.name or each.memory_store_id
        path = each.mount_path or mount_path(name)
        # What the prompt says of another place would not be true of this one.
        if path in found or mount_path(path.rpartition("/")[2]) != path:
            logger.warning("memory store %s is left out: it cannot be at %r", each.memory_store_id, path[:200])
            continue
        found[path] = Mount("memory", each.memory_store_id, path, each.access == "read_only", name)
    return list(found.values())


async def _skill(client: AsyncAnthropic, skill: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a skill as a session of this platform keeps it; None for one that cannot be had."""
    skill_id, version = skill["skill_id"], skill["version"]
    ask = client.beta.skills.versions.retrieve
    try:
        found = await _patiently(lambda: ask(version, skill_id=skill_id))
        # It names a directory; the ids are told apart by the first slash.
        name = checked_name(found.name)
        if "/" in skill_id:
            raise InvalidRequest(f"{skill_id[:80]!r} is no skill's id")
    except APIStatusError as error:
        logger.warning("skill %s is left out: %s", skill_id, words(error))
    except InvalidRequest as error:
        logger.warning("skill %s is left out: %s", skill_id, error.message)
    else:
        return {"skill_id": skill_id, "version": found.id, "name": name, "size": MOST_ARCHIVE_BYTES}
    return None


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer. Raises APIStatusError for one that is final."""
    attempt = 0
    while True:
        try:
            return await ask()
        except PASSING as error:
            if is_final(error):
                raise
            attempt += 1
            logger.info("a session's mounts are not known yet: %s", words(error))
        await asyncio.sleep(pause(attempt, _LONGEST_PAUSE_SECONDS))
