"""The port to the durable log: one writer per partition, fenced, atomic per batch.

A :class:`Commit` carries everything that must change together: the events that get their place in
the log, client events that queue or leave the queue, and the session's row. The in-memory twin is
:class:`agents.store.memory.MemoryEventLog`; the real one is :class:`agents.store.event_log.SqlEventLog`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from agents.ids import EventId, SessionId
from agents.sessions.events import Event, SessionRecord, ThreadRecord


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of ownership of one partition: the epoch grows with every change of owner."""

    partition: int
    owner: str
    epoch: int
    lapsed_at: datetime | None = field(default=None, compare=False)
    """Of a claim: until when the owner before held the partition, if it never gave it back (it has died)."""


def new_stamp() -> str:
    """Return a name for one commit, unique for ever."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """Who owns what just now: leased partitions to owners, and the members that are alive."""

    owners: Mapping[int, str]
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic change of one session.

    ``expected_seq`` is the log position the writer builds on; ``events`` take the positions after
    it, in order. ``record`` is the session's whole row after the change (its ``seq`` equals
    ``expected_seq + len(events)``). ``queue`` are client events that wait, ``consume`` the ids of
    waiting ones that leave the queue (because they are among ``events``, or were dropped).
    ``stamp`` names the commit: after an outcome that nobody knows (a lost connection) the same commit
    can be given again, and is a success at once when it went through the first time.
    """

    lease: Lease
    expected_seq: int
    record: SessionRecord
    events: tuple[Event, ...] = ()
    queue: tuple[Event, ...] = ()
    consume: tuple[EventId, ...] = ()
    stamp: str = field(default_factory=new_stamp)
    threads: tuple[ThreadRecord, ...] = ()
    """Rows of threads that the events have changed; the agents of threads do not change."""
    new_threads: tuple[ThreadRecord, ...] = ()
    """Rows of threads that had none before."""
    work: Literal["wanted", "over"] | None = None
    """For the queue of a self-hosted environment, in the same transaction: that the session has an item there from
    now on, if it has none yet; or that none shall be handed out any more."""


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """Everything the owner needs to go on with a session."""

    record: SessionRecord
    events: tuple[Event, ...]
    queued: tuple[Event, ...]
    threads: tuple[ThreadRecord, ...] = ()


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
        """Remove a session's row, events and queue. Raises Fenced or NotFound.

        In the same transaction the session is noted as ``deleted``: its sandbox has yet to go.
        """
        ...

    async def deleted(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        """Name deleted sessions of *partitions* whose sandbox and files are not known to be removed."""
        ...

    async def forget_deleted(self, session_id: SessionId) -> None:
        """Take note that nothing of a deleted session is left. Idempotent."""
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

    async def changed_since(self, partitions: Sequence[int], since: datetime) -> Sequence[SessionId]:
        """Name the sessions of *partitions* whose last change was at *since* or later."""
        ...


class Leases(Protocol):
    """Who owns which partition, and who is there to own any.

    A member is a name with a generation. ``join`` starts a new generation: whoever still acts for an
    earlier one is refused with Fenced from then on, so that a paused process and its replacement can
    not both hold the name.
    """

    async def join(self, name: str, *, ttl: float) -> int:
        """Enter the members under *name* for *ttl* seconds; returns the new generation. Raises Unavailable.

        What an earlier generation held is free from then on, and its writers are fenced.
        """
        ...

    async def claim(self, name: str, generation: int, partitions: Sequence[int], *, ttl: float) -> Sequence[Lease]:
        """Take those of *partitions* that are free, expired or already *name*'s; the epoch grows.

        Returns the leases now held, which may be fewer than asked for. Raises Fenced (a later generation
        has joined, or the member has left), Unavailable.
        """
        ...

    async def renew(self, name: str, generation: int, *, ttl: float, staying: bool = True) -> Sequence[Lease]:
        """Extend the membership and every lease that *name* still holds, and return those. Raises as ``claim``.

        A member that is about to go is not *staying*: its leases are extended, while the others count
        without it from now on and claim what it releases.
        """
        ...

    async def release(self, name: str, generation: int, partitions: Sequence[int]) -> None:
        """Give these partitions back at once. Raises as ``claim``."""
        ...

    async def leave(self, name: str, generation: int) -> None:
        """Give everything back and end the membership. Does nothing for an earlier generation."""
        ...

    async def table(self) -> LeaseTable:
        """Read owners and members; expired ones count as none. Raises Unavailable."""
        ...
