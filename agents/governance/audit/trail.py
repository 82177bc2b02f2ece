"""The port to the stored trail: what verification, export and the API read of it, and what changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agents.governance.audit.entries import AuditEntry, AuditLog, ChainedEntry, EntryQuery


@dataclass(frozen=True, slots=True)
class Leaf:
    """A line of a seal: how far a session's log went, and the link there; ``deleted`` when the session was, just so."""

    entry: int
    session_id: str
    seq: int
    head: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """An event as it is stored, its hidden part by its hash. ``link`` is None for rows of releases before the trail."""

    session_id: str
    seq: int
    id: str
    type: str
    processed_at: int | None
    body: str
    hidden: str
    link: str | None
    thread: str = ""
    """Whose event it is, as it enters its hash: see ``thread_mark``."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """An event whose content was taken away: the hash of what was there, and of what is there now."""

    session_id: str
    seq: int
    before: str
    after: str
    entry: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A session that must not be deleted, redacted or pruned, why, and who said so when."""

    session_id: str
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one session beside its events, as of one moment.

    ``seq`` is the position in the session's row, None when there is none; ``deleted`` the place of its deletion that no
    seal has yet. ``leaves`` are in order of position.
    """

    seq: int | None
    deleted: int | None
    leaves: Sequence[Leaf] = ()
    redactions: Sequence[Redaction] = ()


class TrailReader(Protocol):
    """What can be verified: a database, or an export."""

    async def entries(self, query: EntryQuery) -> Sequence[ChainedEntry]:
        """Return up to ``limit`` entries."""
        ...

    async def leaves(self, entry: int) -> Sequence[Leaf]:
        """Return the lines of one seal."""
        ...

    async def sessions(self, after: str, limit: int) -> Sequence[str]:
        """Name sessions that there are, or that a seal knows, by id after *after*."""
        ...

    async def standing(self, session_id: str) -> Standing: ...

    async def rows(self, session_id: str, after: int, limit: int) -> Sequence[LoggedRow]:
        """Return events with ``seq > after``, in order."""
        ...


class AuditTrail(AuditLog, TrailReader, Protocol):
    """The trail of a store."""

    def require_room(self) -> None:
        """Raise Overloaded when entries wait that the database does not take: what cannot be recorded is not done."""
        ...

    async def head(self) -> ChainedEntry | None:
        """Return the newest entry."""
        ...

    async def seal(self) -> int:
        """Seal now what this process has logged since the last time; returns the number of sessions."""
        ...

    async def hold(self, hold: Hold, entry: AuditEntry) -> None:
        """Put a session under legal hold, and write *entry* with it. Raises NotFound, Conflict (it is already)."""
        ...

    async def release(self, session_id: str, entry: AuditEntry) -> None:
        """End a hold, and write *entry* with it. Raises NotFound."""
        ...

    async def holds(self, session_id: str | None = None) -> Sequence[Hold]:
        """Return the holds there are (on one session), by session."""
        ...

    async def redact(self, session_id: str, event_id: str, entry: AuditEntry) -> None:
        """Take the content of an event away, and write *entry*, with both hashes, in the same transaction.

        The log grows by an event, so that whoever holds the session in memory reads it anew.
        Raises NotFound, Conflict (under hold, running, redacted before), InvalidRequest (no content).
        """
        ...

    async def prune(self, before: datetime) -> int:
        """Delete entries older than *before*; returns how many. An entry of it goes into the chain."""
        ...
