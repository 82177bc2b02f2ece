"""The port to the durable log: one writer per partition, fenced, atomic per batch.

A :class:`Commit` carries everything that must change together: the events that get their place in
the log, client events that queue or leave the queue, and the session's row. The in-memory twin is
:class:`agents.store.memory.MemoryEventLog`; the real one is :class:`agents.store.event_log.SqlEventLog`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.ids import EventId, SessionId
from agents.sessions.events import Event, SessionRecord


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of ownership of one partition: the epoch grows with every change of owner."""

    partition: int
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic change of one session.

    ``expected_seq`` is the log position the writer builds on; ``events`` take the positions after
    it, in order. ``record`` is the session's whole row after the change (its ``seq`` equals
    ``expected_seq + len(events)``). ``queue`` are client events that wait, ``consume`` the ids of
    waiting ones that leave the queue (because they are among ``events``, or were dropped).
    """

    lease: Lease
    expected_seq: int
    record: SessionRecord
    events: tuple[Event, ...] = ()
    queue: tuple[Event, ...] = ()
    consume: tuple[EventId, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """Everything the owner needs to go on with a session."""

    record: SessionRecord
    events: tuple[Event, ...]
    queued: tuple[Event, ...]


class EventLog(Protocol):
    """Durable, append-only logs of many sessions."""

    async def create(self, commit: Commit) -> None:
        """Insert a session with its first events (``expected_seq`` 0). Raises Fenced."""
        ...

    async def append(self, commit: Commit) -> None:
        """Apply one change durably; returns after it is on disk.

        Raises Fenced (stale epoch), LogConflict (``expected_seq`` is not the stored position) or
        NotFound (the session is gone). Concurrent calls are committed in groups.
        """
        ...

    async def delete(self, lease: Lease, session_id: SessionId) -> None:
        """Remove a session's row, events and queue. Raises Fenced or NotFound."""
        ...

    async def load(self, session_id: SessionId) -> SessionSnapshot:
        """Read a session whole. Raises NotFound."""
        ...

    async def read(self, session_id: SessionId, *, after: int, limit: int) -> Sequence[Event]:
        """Read up to *limit* events with ``seq > after``, oldest first."""
        ...

    async def unfinished(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        """Name the sessions of *partitions* with work left: running, rescheduling, or with queued input."""
        ...


class Leases(Protocol):
    """Who owns which partition."""

    async def claim(self, owner: str, partitions: Sequence[int], *, ttl: float) -> Sequence[Lease]:
        """Take those of *partitions* that are free, expired or already *owner*'s; the epoch grows.

        Returns the leases now held, which may be fewer than asked for.
        """
        ...

    async def renew(self, owner: str, *, ttl: float) -> Sequence[Lease]:
        """Extend every lease that *owner* still holds and return them."""
        ...

    async def release(self, owner: str) -> None:
        """Give every partition of *owner* back at once."""
        ...

    async def owners(self) -> dict[int, str]:
        """Map each leased partition to its owner."""
        ...
