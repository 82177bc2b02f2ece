"""The durable log on a database: concurrent commits share one transaction (group commit).

Invariant: a caller hears of success only after the transaction that holds its change is on disk.
Each change is checked for itself; a refused one fails alone. When the transaction fails, nothing of
it is written and every caller in it is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from agents.errors import Conflict, LogConflict, NotFound, Overloaded
from agents.ids import EventId, SessionId
from agents.sessions.events import Event
from agents.sessions.log import Commit, Lease, SessionSnapshot
from agents.store.batch import Change, Kind, change_of, deletion_of
from agents.store.codec import clamped, findable
from agents.store.engine import Database
from agents.store.log_statements import (
    forget_deleted,
    read_after,
    read_among,
    read_deleted,
    read_unfinished,
    read_whole,
    write_batch,
)

_BATCH = 256
"""Changes in one transaction: far above what the targets need, small enough to bound its locks."""
_WAITING = 4096
"""Changes that may wait for the writer; each belongs to a caller that is itself bounded."""


@dataclass(frozen=True, slots=True)
class _Waiter:
    change: Change
    done: asyncio.Future[None]


class SqlEventLog:
    """The EventLog of SQLite and PostgreSQL."""

    def __init__(self, database: Database, *, batch: int = _BATCH, waiting: int = _WAITING) -> None:
        self._database = database
        self._batch = batch
        self._limit = waiting
        self._waiting: deque[_Waiter] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def create(self, commit: Commit) -> None:
        """Insert a session. Raises Fenced, LogConflict when it exists, InvalidRequest, Overloaded, Unavailable."""
        await self._submit(change_of(Kind.CREATE, commit))

    async def append(self, commit: Commit) -> None:
        """Apply one change. Raises Fenced, LogConflict, NotFound, InvalidRequest, Overloaded, Unavailable."""
        await self._submit(change_of(Kind.APPEND, commit))

    async def delete(self, lease: Lease, session_id: SessionId) -> None:
        """Remove a session whole. Raises Fenced, NotFound, Overloaded, Unavailable."""
        await self._submit(deletion_of(lease, session_id))

    async def load(self, session_id: SessionId) -> SessionSnapshot:
        """Read a session whole, as of one moment. Raises NotFound, Unavailable."""
        if not findable(session_id):
            raise NotFound("session not found")
        return await self._database.read(lambda connection: read_whole(connection, session_id))

    async def read(self, session_id: SessionId, *, after: int, limit: int) -> Sequence[Event]:
        """Read on from a position. Raises Unavailable."""
        if not findable(session_id):
            return []
        position = clamped(after)
        return await self._database.read(lambda connection: read_after(connection, session_id, position, limit))

    async def unfinished(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        """Name sessions with work left. Raises Unavailable."""
        return await self._database.read(lambda connection: read_unfinished(connection, partitions))

    async def deleted(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        """Name deleted sessions of which something may be left. Raises Unavailable."""
        return await self._database.read(lambda connection: read_deleted(connection, partitions))

    async def forget_deleted(self, session_id: SessionId) -> None:
        """Take note that nothing of a deleted session is left. Raises Unavailable."""
        if findable(session_id):
            await self._database.write(lambda connection: forget_deleted(connection, session_id))

    async def find(self, session_id: SessionId, event_ids: Sequence[EventId]) -> Sequence[Event]:
        """Return those of *event_ids* that the session has, logged or queued. Raises Unavailable."""
        wanted = [event_id for event_id in event_ids if findable(event_id)]
        if not wanted or not findable(session_id):
            return []
        return await self._database.read(lambda connection: read_among(connection, session_id, wanted))

    async def close(self) -> None:
        """Return when everything accepted so far is written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _submit(self, change: Change) -> None:
        if len(self._waiting) >= self._limit:
            raise Overloaded("too many changes wait for the database", retry_after=1.0)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(change, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="store-group-commit")
        await done

    async def _write_all(self) -> None:
        try:
            while batch := self._next_batch():
                await self._commit(batch)
        finally:
            self._writer = None

    def _next_batch(self) -> list[_Waiter]:
        """Take what waits, in order, up to the second change of a session: it builds on the first."""
        batch: list[_Waiter] = []
        seen: set[str] = set()
        while self._waiting and len(batch) < self._batch:
            waiter = self._waiting[0]
            if waiter.done.done():  # its caller gave up before the change was taken: it never happened
                self._waiting.popleft()
                continue
            if waiter.change.session_id in seen:
                break
            seen.add(waiter.change.session_id)
            batch.append(self._waiting.popleft())
        return batch

    async def _commit(self, batch: list[_Waiter]) -> None:
        work = partial(write_batch, changes=[waiter.change for waiter in batch])
        outcomes: Sequence[Exception | None]
        try:
            outcomes = await self._database.write(work)
        except Conflict as error:
            # A constraint failed (an event id stored before): only the guilty change may suffer for it.
            if len(batch) > 1:
                for waiter in batch:
                    await self._commit([waiter])
                return
            outcomes = [LogConflict(f"{error.message}: an id is already stored")]
        except asyncio.CancelledError:
            for waiter in batch:
                waiter.done.cancel()
            raise
        except Exception as error:  # the writer is a supervisor: it outlives its batch, whose callers are told
            outcomes = [error] * len(batch)
        for waiter, outcome in zip(batch, outcomes, strict=True):
            _settle(waiter.done, outcome)


def _settle(done: asyncio.Future[None], outcome: Exception | None) -> None:
    if done.done():  # the caller was cancelled meanwhile; its change went with the batch
        return
    if outcome is None:
        done.set_result(None)
    else:
        done.set_exception(outcome)
