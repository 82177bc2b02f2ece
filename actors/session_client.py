"""The gateway's SessionHost: finds the harness that owns a session, and the next one when it is replaced.

A call whose owner refuses it (Fenced: nothing was written) or is lost (nobody knows) is made again, at
whoever owns the partition then, until ``gateway.owner_wait_seconds`` have passed. What makes that safe
are the ids that the gateway has given (docs/adr/0008): the next owner finds out what was done already.
Any other answer, refusals included, is the owner's word and is passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from actors.harness_link import HarnessLink
from actors.link_client import LinkDown, LinkLost
from actors.owner_table import OwnerTable
from agents.config import Settings
from agents.errors import Fenced, NotFound, Unavailable
from agents.ids import SessionId
from agents.sessions.events import SessionRecord
from agents.sessions.host import Frame
from agents.sessions.log import Leases, LeaseTable
from agents.sessions.partition import partition_of

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5
_LOOKS_PER_TTL = 3
_FIGURES_SECONDS = 2.0


class SessionClient:
    """SessionHost over links to the harness actors."""

    def __init__(self, settings: Settings, leases: Leases, *, on_trace: Callable[[int], None] = lambda _: None) -> None:
        """*on_trace* hears of traces that a harness keeps though they were not chosen."""
        self._on_trace = on_trace
        self._settings = settings
        self._wait = settings.gateway.owner_wait_seconds
        age = settings.harness.lease_ttl_seconds / _LOOKS_PER_TTL
        self._owners = OwnerTable(leases, age=age, on_look=self._looked)
        self._links: dict[str, HarnessLink] = {}
        self._closing: set[asyncio.Task[None]] = set()

    # -- SessionHost -----------------------------------------------------------------------------

    async def create(self, record: SessionRecord, initial_events: Sequence[dict[str, Any]]) -> SessionRecord:
        partition, events = record.partition, list(initial_events)
        return await self._at_owner(partition, lambda link, _: link.call(partition, "create", record, events))

    async def send(
        self,
        session_id: SessionId,
        events: Sequence[dict[str, Any]],
        *,
        repeat_key: str | None = None,
        again: bool = False,
    ) -> list[dict[str, Any]]:
        partition, sent = self._partition(session_id), list(events)
        return await self._at_owner(
            partition,
            lambda link, repeated: link.call(partition, "send", session_id, sent, repeat_key, again or repeated),
        )

    async def update(self, session_id: SessionId, changes: dict[str, Any]) -> SessionRecord:
        partition = self._partition(session_id)
        return await self._at_owner(partition, lambda link, _: link.call(partition, "update", session_id, changes))

    async def archive(self, session_id: SessionId) -> SessionRecord:
        partition = self._partition(session_id)
        return await self._at_owner(partition, lambda link, _: link.call(partition, "archive", session_id))

    async def archive_thread(self, session_id: SessionId, thread_id: str) -> None:
        partition = self._partition(session_id)
        await self._at_owner(partition, lambda link, _: link.call(partition, "archive_thread", session_id, thread_id))

    async def delete(self, session_id: SessionId) -> None:
        partition = self._partition(session_id)

        async def delete(link: HarnessLink, repeated: bool) -> None:
            try:
                await link.call(partition, "delete", session_id)
            except NotFound:
                if not repeated:
                    raise

        await self._at_owner(partition, delete)

    @asynccontextmanager
    async def watch(
        self, session_id: SessionId, *, previews: frozenset[str]
    ) -> AsyncIterator[AsyncIterator[Sequence[Frame]]]:
        partition = self._partition(session_id)
        async with AsyncExitStack() as watching:
            yield await self._at_owner(
                partition,
                lambda link, _: watching.enter_async_context(link.watch(partition, session_id, previews)),
            )

    # -- routing ---------------------------------------------------------------------------------

    def _partition(self, session_id: SessionId) -> int:
        # The store refuses to open with another count of partitions than it was made with (actors.database).
        return partition_of(session_id, self._settings.harness.partitions)

    async def _at_owner(self, partition: int, work: Callable[[HarnessLink, bool], Awaitable[T]]) -> T:
        """Do *work* at the partition's owner; it is told whether an earlier try may have done it already.

        Raises Unavailable when no owner has answered in time, else what *work* raises.
        """
        loop = asyncio.get_running_loop()
        deadline, pause, repeated = loop.time() + self._wait, _FIRST_PAUSE_SECONDS, False
        owner = await self._owners.owner(partition)
        while True:
            if owner is not None:
                try:
                    return await work(self._link(owner), repeated)
                except (Fenced, LinkLost):
                    repeated = True
                except LinkDown:
                    pass
            asked, owner = owner, await self._next_owner(partition)
            if loop.time() >= deadline:
                raise Unavailable("the session's owner is being replaced; try again", retry_after=1.0)
            if owner in (None, asked):
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, hides nothing
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _next_owner(self, partition: int) -> str | None:
        with contextlib.suppress(Unavailable):  # the store is away: the owner last known may still answer
            await self._owners.look()
        return await self._owners.owner(partition)

    def _link(self, owner: str) -> HarnessLink:
        link = self._links.get(owner)
        if link is None:
            link = self._links[owner] = HarnessLink(owner, self._settings, on_trace=self._on_trace)
        return link

    def _looked(self, table: LeaseTable) -> None:
        """Take every link off the partitions that are another's by now, and drop links to who has left."""
        present = {*table.members, *table.owners.values()}  # who is about to go still owns, but is no member any more
        for name, link in tuple(self._links.items()):
            link.cut(partial(_belongs_to_another, table, name))
            if link.idle and name not in present:
                del self._links[name]
                closing = asyncio.create_task(link.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    # -- the platform's own questions ------------------------------------------------------------

    async def members(self) -> dict[str, dict[str, Any] | None]:
        """Return each live harness's figures, None for one that does not answer just now. Raises Unavailable."""
        table = await self._owners.look()
        asked = [self._link(name).figures(timeout=_FIGURES_SECONDS) for name in table.members]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Unavailable):
                raise answer
        figures = (None if isinstance(answer, BaseException) else answer for answer in answers)
        return dict(zip(table.members, figures, strict=True))

    async def close(self) -> None:
        await self._owners.close()
        await asyncio.gather(*(link.close() for link in self._links.values()), *self._closing)


def _belongs_to_another(table: LeaseTable, name: str, partition: int) -> bool:
    # One without an owner may be renewed yet: whoever waits for its owner goes on waiting.
    return table.owners.get(partition, name) != name
