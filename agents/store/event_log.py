"""The durable log on a database: it reads by itself and writes by group commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from agents.clock import Clock, SystemClock
from agents.errors import NotFound
from agents.ids import SessionId
from agents.sessions.events import Event
from agents.sessions.log import Commit, Lease, SessionSnapshot
from agents.store.batch import Change, Digests, Kind, change_of, deletion_of
from agents.store.codec import clamped, findable
from agents.store.engine import DEADLINE_SECONDS, Database
from agents.store.group_commit import GroupCommit
from agents.store.log_chain import LogChain
from agents.store.log_reading import (
    forget_deleted,
    read_after,
    read_changed,
    read_deleted,
    read_unfinished,
    read_whole,
)
from agents.store.sealing import Sealer

BATCH = 128
"""Changes in one transaction. Half of many writers' changes: the next group is encoded while one is written."""
_WAITING = 4096
"""Changes that may wait for the writer; each belongs to a caller that is itself bounded."""

_DIGESTS = 2048
"""Sessions whose snapshot is remembered as unchanged: as many as may be active in one process."""


class SqlEventLog:
    """The EventLog of SQLite and PostgreSQL."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer | None = None,
        *,
        batch: int = BATCH,
        waiting: int = _WAITING,
        deadline: float = DEADLINE_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._sealer = sealer
        self._chain = LogChain(database)
        self._digests = Digests(_DIGESTS)
        self._commits = GroupCommit(database, batch=batch, waiting=waiting, deadline=deadline)

    def watch(self, on_written: Callable[[int], None]) -> None:
        """Have *on_written* hear how many events each transaction has written."""
        self._commits.on_written = on_written

    async def create(self, commit: Commit) -> None:
        """Insert a session. Raises Fenced, LogConflict when it exists, InvalidRequest, Overloaded, Unavailable."""
        await self._write(change_of(Kind.CREATE, commit, self._digests.of))

    async def append(self, commit: Commit) -> None:
        """Apply one change. Raises Fenced, LogConflict, NotFound, InvalidRequest, Overloaded, Unavailable."""
        await self._write(change_of(Kind.APPEND, commit, self._digests.of))

    async def delete(self, lease: Lease, session_id: SessionId) -> None:
        """Remove a session whole. Raises Fenced, NotFound, Overloaded, Unavailable."""
        change = deletion_of(lease, session_id, self._clock.now())
        await self._commits.write(change)
        self._note(change)
        self._digests.forget(session_id)
        self._chain.forget(session_id)

    async def load(self, session_id: SessionId) -> SessionSnapshot:
        """Read a session whole, as of one moment. Raises NotFound, Unavailable."""
        if not findable(session_id):
            raise NotFound("session not found")
        snapshot, link = await self._database.read(lambda connection: read_whole(connection, session_id))
        if link is not None:
            self._chain.learn(session_id, snapshot.record.seq, link)
        return snapshot

    async def read(self, session_id: SessionId, *, after: int, limit: int) -> Sequence[Event]:
        """Read on from a position. Raises Unavailable."""
        if not findable(session_id):
            return []
        position = clamped(after)
        return await self._database.read(lambda connection: read_after(connection, session_id, position, limit))

    async def unfinished(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        """Name sessions with work left. Raises Unavailable."""
        return await self._database.read(lambda connection: read_unfinished(connection, partitions))

    async def changed_since(self, partitions: Sequence[int], since: datetime) -> Sequence[SessionId]:
        """Name sessions that were changed lately; looks at each of the partitions'. Raises Unavailable."""
        return await self._database.read(lambda connection: read_changed(connection, partitions, since))

    async def deleted(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        """Name deleted sessions of which something may be left. Raises Unavailable."""
        return await self._database.read(lambda connection: read_deleted(connection, partitions))

    async def forget_deleted(self, session_id: SessionId) -> None:
        """Take note that nothing of a deleted session is left. Raises Unavailable."""
        if findable(session_id):
            await self._database.write(lambda connection: forget_deleted(connection, session_id), repeatable=True)

    async def _write(self, change: Change) -> None:
        if not self._chain.linked(change):
            await self._chain.link(change)
        try:
            await self._commits.write(change)
        except BaseException:
            # Also when the caller is cancelled: whether the change was written is then for the next read to tell.
            self._chain.take_back(change)
            raise
        self._note(change)

    def _note(self, change: Change) -> None:
        if self._sealer is not None:
            self._sealer.note(change)

    async def close(self) -> None:
        """Return when everything accepted so far is written or refused."""
        await self._commits.close()
