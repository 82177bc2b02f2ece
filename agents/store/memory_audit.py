"""The trail of the store in memory: the same chains, kept in lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from agents.clock import Clock
from agents.errors import Conflict, NotFound
from agents.governance.audit.chain import FIRST_LINK, leaves_digest, row_digest
from agents.governance.audit.entries import PRUNE, SEAL, SYSTEM, AuditEntry, ChainedEntry, EntryQuery, chained
from agents.governance.audit.pruning import gaps_of, missing, tombstone
from agents.governance.audit.redaction import redacted
from agents.governance.audit.trail import Hold, Leaf, LoggedRow, Redaction, Standing
from agents.ids import new_event_id
from agents.sessions.events import Event, EventType
from agents.store.audit_rows import logged_row
from agents.store.batch import under_hold
from agents.store.codec import event_of, event_row, micros
from agents.store.log_chain import chain_rows
from agents.store.memory_sessions import StoredSession


class MemoryAuditTrail:
    """The AuditTrail of one process; *sessions* are the rows that there are."""

    def __init__(self, clock: Clock, sessions: Mapping[str, StoredSession]) -> None:
        self._clock = clock
        self._sessions = sessions
        self._entries: list[ChainedEntry] = []
        self._leaves: list[Leaf] = []
        self._deleted: dict[str, tuple[int, str]] = {}
        self._redactions: dict[tuple[str, int], Redaction] = {}
        self.held: dict[str, Hold] = {}

    def require_room(self) -> None:
        """There always is."""

    async def record(self, entry: AuditEntry) -> None:
        """See AuditLog.record."""
        self.add(entry)

    async def entries(self, query: EntryQuery) -> Sequence[ChainedEntry]:
        """See TrailReader.entries."""
        found = [entry for entry in self._entries if _fits(entry, query)]
        return (found[::-1] if query.newest_first else found)[: query.limit]

    async def head(self) -> ChainedEntry | None:
        """See AuditTrail.head."""
        return self._entries[-1] if self._entries else None

    async def leaves(self, entry: int) -> Sequence[Leaf]:
        """See TrailReader.leaves."""
        return [leaf for leaf in self._leaves if leaf.entry == entry]

    async def sessions(self, after: str, limit: int) -> Sequence[str]:
        """See TrailReader.sessions."""
        names = self._sessions.keys() | {leaf.session_id for leaf in self._leaves}
        return sorted(name for name in names if name > after)[:limit]

    async def standing(self, session_id: str) -> Standing:
        """See TrailReader.standing."""
        stored, deleted = self._sessions.get(session_id), self._deleted.get(session_id)
        return Standing(
            None if stored is None else stored.session["seq"],
            None if deleted is None else deleted[0],
            sorted((leaf for leaf in self._leaves if leaf.session_id == session_id), key=lambda leaf: leaf.seq),
            [each for (name, _), each in sorted(self._redactions.items()) if name == session_id],
        )

    async def rows(self, session_id: str, after: int, limit: int) -> Sequence[LoggedRow]:
        """See TrailReader.rows."""
        stored = self._sessions.get(session_id)
        return [logged_row(row) for row in stored.events[after : after + limit]] if stored else []

    async def seal(self) -> int:
        """See AuditTrail.seal."""
        sealed = {(leaf.session_id, leaf.seq) for leaf in self._leaves if not leaf.deleted}
        grown = [
            (name, len(each.events), each.events[-1]["link"]) for name, each in self._sessions.items() if each.events
        ]
        lines = [(*each, False) for each in grown if each[:2] not in sealed]
        lines += [(name, seq, head, True) for name, (seq, head) in self._deleted.items()]
        if lines:
            detail = {"sessions": len(lines), "digest": leaves_digest(lines)}
            placed = self.add(AuditEntry(self._clock.now(), SYSTEM, SEAL, detail=detail))
            self._leaves += [Leaf(placed.seq, *line) for line in lines]
            self._deleted.clear()
        return len(lines)

    async def hold(self, hold: Hold, entry: AuditEntry) -> None:
        """See AuditTrail.hold."""
        if hold.session_id not in self._sessions:
            raise NotFound(f"session {hold.session_id} not found")
        if hold.session_id in self.held:
            raise Conflict(f"session {hold.session_id} is under legal hold already")
        self.held[hold.session_id] = hold
        self.add(entry)

    async def release(self, session_id: str, entry: AuditEntry) -> None:
        """See AuditTrail.release."""
        if self.held.pop(session_id, None) is None:
            raise NotFound(f"session {session_id} is not under legal hold")
        self.add(entry)

    async def holds(self, session_id: str | None = None) -> Sequence[Hold]:
        """See AuditTrail.holds."""
        return [hold for name, hold in sorted(self.held.items()) if session_id in (None, name)]

    async def redact(self, session_id: str, event_id: str, entry: AuditEntry) -> None:
        """See AuditTrail.redact."""
        stored = self._sessions.get(session_id)
        row = next((row for row in stored.events if row["id"] == event_id), None) if stored else None
        if stored is None or row is None:
            raise NotFound(f"event {event_id} not found in the log of session {session_id}")
        if session_id in self.held:
            raise under_hold(session_id)
        if stored.session["status"] in ("running", "rescheduling"):
            raise Conflict(f"session {session_id} is running: interrupt it first")
        if (session_id, row["seq"]) in self._redactions:
            raise Conflict(f"event {event_id} was redacted before")
        shown = event_row(session_id, redacted(event_of(row)), row["seq"])
        told = {"session": session_id, "seq": row["seq"], "before": row_digest(row), "after": row_digest(shown)}
        placed = self.add(replace(entry, detail={**entry.detail, **told}))
        self._redactions[session_id, row["seq"]] = Redaction(
            session_id, row["seq"], told["before"], told["after"], placed.seq
        )
        row.update(body=shown["body"], hidden=shown["hidden"])
        now, last = self._clock.now(), stored.events[-1]
        more = event_row(session_id, Event(new_event_id(), EventType.SESSION_UPDATED, {}, now), last["seq"] + 1)
        chain_rows([more], last["link"])
        stored.events.append(more)
        stored.session.update(seq=more["seq"], updated_at=micros(now))

    async def prune(self, before: datetime) -> int:
        """See AuditTrail.prune."""
        old = [entry for entry in self._entries[:-1] if entry.at < micros(before)]
        if not old:
            return 0
        last = old[-1].seq
        spoken = {leaf.session_id for leaf in self._leaves if leaf.entry > last and not leaf.deleted}
        self._leaves = [leaf for leaf in self._leaves if leaf.entry > last or leaf.session_id not in self._sessions]
        if self._sessions.keys() - spoken:
            await self.seal()
        self._leaves = [leaf for leaf in self._leaves if leaf.entry > last]
        known = gaps_of(next((entry for entry in reversed(self._entries) if entry.action == PRUNE), None))
        needed = {each.entry for each in self._redactions.values()}
        kept = {entry.seq for entry in old if entry.object in self.held or entry.seq in needed}
        self._entries = [entry for entry in self._entries if entry.seq > last or entry.seq in kept]
        gone = len(old) - len(kept)
        if gone:
            gaps = missing(kept, {entry.seq: entry.hash for entry in old}, known.values(), last)
            self.add(tombstone(self._clock.now(), before, gone, gaps))
        return gone

    def note_deleted(self, session_id: str) -> None:
        """Take note that a session is about to be deleted."""
        if events := self._sessions[session_id].events:
            self._deleted[session_id] = events[-1]["seq"], events[-1]["link"]
        for key in [key for key in self._redactions if key[0] == session_id]:
            del self._redactions[key]

    def add(self, entry: AuditEntry) -> ChainedEntry:
        """Add an entry to the chain; returns it in its place."""
        last = self._entries[-1] if self._entries else None
        seq, before = (1, FIRST_LINK) if last is None else (last.seq + 1, last.hash)
        placed = chained(entry, seq, before, micros(entry.at))
        self._entries.append(placed)
        return placed


def _fits(entry: ChainedEntry, query: EntryQuery) -> bool:
    place = query.after
    return (
        (place is None or (entry.seq < place if query.newest_first else entry.seq > place))
        and query.actor in (None, entry.actor)
        and query.action in (None, entry.action)
        and query.object in (None, entry.object)
        and query.hash in (None, entry.hash)
        and (query.since is None or entry.at >= query.since)
        and (query.until is None or entry.at < query.until)
    )
