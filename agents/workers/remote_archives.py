"""The archives of skills that another server has, for the sandbox hosts of a worker.

The environment's key opens them. What comes is a stranger's: it passes the checks of an upload and is packed anew, so
that hosts get what they would of this platform's own skills.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import httpx2

from agents.errors import InvalidRequest, NotFound, Unavailable
from agents.skills.bundle import archived, bundle_of
from agents.skills.files import MOST_BYTES, SkillFile
from agents.workers.transience import PASSING, is_final, words

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

MOST_ARCHIVE_BYTES = MOST_BYTES + 1024 * 1024
"""Of a skill that compresses badly, with the archive's own list of its files."""
_REMEMBERED = 1000
_REQUEST = httpx2.Timeout(30.0, connect=10.0)


class RemoteArchives:
    """The ArchiveSource of a worker."""

    def __init__(self, client: AsyncAnthropic) -> None:
        """*client* has the environment's key."""
        self._versions = client.with_options(timeout=_REQUEST).beta.skills.versions
        self._unfit: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Versions that are not to be fetched again, for they never change, and why."""

    async def get(self, skill_id: str, version_id: str, size: int) -> bytes:
        """See ArchiveSource.get; *size* is only the most that it may have, for the API tells no sizes."""
        if (why := self._unfit.get((skill_id, version_id))) is not None:
            raise ValueError(why)
        fetched = await self._fetch(skill_id, version_id, size)
        try:
            return await asyncio.to_thread(_packed_anew, fetched, size)
        except InvalidRequest as error:
            self._unfit[skill_id, version_id] = error.message
            if len(self._unfit) > _REMEMBERED:
                self._unfit.popitem(last=False)
            raise ValueError(error.message) from error

    async def _fetch(self, skill_id: str, version_id: str, most: int) -> bytes:
        """Return what the server sends, cut off where it is too much."""
        fetched = bytearray()
        download = self._versions.with_streaming_response.download
        try:
            async with download(version_id, skill_id=skill_id) as answer:
                async for chunk in answer.iter_bytes():
                    fetched += chunk
                    if len(fetched) > most:
                        break
        except PASSING as error:
            if is_final(error):
                raise NotFound(f"skill {skill_id}, version {version_id}: {words(error)}") from error
            raise Unavailable(f"the server of skill {skill_id} does not answer: {words(error)}") from error
        return bytes(fetched)


def _packed_anew(archive: bytes, most: int) -> bytes:
    """Raises InvalidRequest for what is no skill."""
    if len(archive) > most:
        raise InvalidRequest(f"a skill's archive may have {most} bytes")
    return archived(bundle_of([SkillFile("skill.zip", archive)]))
