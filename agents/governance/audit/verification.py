"""Verification: computing every hash again, from a database or from an export, and naming the first row that is wrong.

It goes on in steps, so that a server answers each request in bounded time and whoever asks sees it advance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from agents.governance.audit.chain import FIRST_LINK, entry_link, event_digest, leaves_digest, link, session_link
from agents.governance.audit.entries import REDACTION, SEAL, ChainedEntry, EntryQuery
from agents.governance.audit.pruning import NEWEST, gaps_of
from agents.governance.audit.trail import Leaf, LoggedRow, Redaction, Standing, TrailReader

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written: in the trail (``session`` empty), or in a session's log.

    ``seq`` is the first bad row: the position of an entry, or of an event.
    """

    session: str
    seq: int
    message: str


@dataclass(slots=True)
class EntriesStep:
    """The outcome of verifying some entries: ``after`` and ``hash`` are where to go on, unless they were all."""

    after: int
    hash: str
    done: bool
    checked: int = 0
    findings: list[Finding] = field(default_factory=lambda: [])


@dataclass(slots=True)
class SessionsStep:
    """The outcome of verifying some sessions: ``after`` is the last one."""

    after: str
    done: bool
    sessions: int = 0
    events: int = 0
    unsealed: int = 0
    """Sessions that have grown since their last seal."""
    findings: list[Finding] = field(default_factory=lambda: [])


async def verify_entries(reader: TrailReader, limit: int, *, after: int = 0, hash_: str = FIRST_LINK) -> EntriesStep:
    """Verify the next entries after one whose hash is *hash_*. Stops at the first that is wrong. Raises Unavailable."""
    step = EntriesStep(after, hash_, done=False)
    entries = await reader.entries(EntryQuery(limit=limit, after=after))
    # Read later: what was pruned in between is told of then.
    gaps = gaps_of(next(iter(await reader.entries(NEWEST)), None))
    for entry in entries:
        while entry.seq != step.after + 1 and (gap := gaps.get(step.after + 1)) is not None and gap[1] < entry.seq:
            step.after, step.hash = gap[1], gap[2]
        wrong = _wrong_entry(entry, step) or await _wrong_seal(reader, entry)
        if wrong is not None:
            step.findings.append(wrong)
            return step
        step.after, step.hash = entry.seq, entry.hash
        step.checked += 1
    step.done = len(entries) < limit
    return step


def _wrong_entry(entry: ChainedEntry, step: EntriesStep) -> Finding | None:
    expected = step.after + 1
    if entry.seq != expected:
        return Finding("", expected, f"entries {expected} to {entry.seq - 1} are missing")
    if entry_link(step.hash, entry.body) != entry.hash:
        return Finding("", entry.seq, f"entry {entry.seq} was changed, or what it is chained to")
    told = orjson.loads(entry.body)
    if (told["seq"], told["actor"], told["action"], told["object"]) != (
        entry.seq,
        entry.actor,
        entry.action,
        entry.object,
    ):
        return Finding("", entry.seq, f"entry {entry.seq}: its columns say something else than its text")
    return None


async def _wrong_seal(reader: TrailReader, entry: ChainedEntry) -> Finding | None:
    if entry.action != SEAL:
        return None
    leaves = [(leaf.session_id, leaf.seq, leaf.head, leaf.deleted) for leaf in await reader.leaves(entry.seq)]
    if leaves_digest(leaves) != orjson.loads(entry.body)["detail"]["digest"]:
        if not [each for each in await reader.entries(EntryQuery(limit=1, after=entry.seq - 1)) if each == entry]:
            return None  # it was pruned, with its lines, since it was read
        return Finding("", entry.seq, f"entry {entry.seq}: the lines of this seal were changed")
    return None


async def verify_sessions(reader: TrailReader, events: int, *, after: str = "", most: int = 500) -> SessionsStep:
    """Verify the next sessions, until about so many *events* were looked at, or *most* sessions. Raises Unavailable."""
    step = SessionsStep(after, done=False)
    names = await reader.sessions(after, most)
    for name in names:
        if step.events >= events:
            return step
        await verify_session(reader, name, step)
        step.after = name
    step.done = len(names) < most
    return step


async def verify_session(reader: TrailReader, session_id: str, step: SessionsStep) -> None:
    """Verify the log of one session, and count it in *step*. Raises Unavailable."""
    step.sessions += 1
    finding, standing = await _check(reader, session_id, step)
    if finding is not None:
        # It may have been deleted or redacted while it was read: what is wrong is so a second time.
        finding, standing = await _check(reader, session_id, step)
    if finding is not None:
        step.findings.append(finding)
    sealed = max((leaf.seq for leaf in standing.leaves), default=0)
    step.unsealed += standing.seq is not None and standing.seq > sealed


async def _check(reader: TrailReader, session_id: str, step: SessionsStep) -> tuple[Finding | None, Standing]:
    standing = await reader.standing(session_id)
    check = SessionCheck(session_id, standing, await _proven(reader, standing.redactions))
    while check.finding is None:
        rows = await reader.rows(session_id, check.after, _ROWS_AT_ONCE)
        # What the log has grown by since its standing was read is for the next time.
        check.take([row for row in rows if standing.seq is None or row.seq <= standing.seq])
        step.events += len(rows)
        if standing.seq is not None and rows and rows[-1].seq > standing.seq:
            beyond = next(row for row in rows if row.seq > standing.seq)
            if ((await reader.standing(session_id)).seq or 0) < beyond.seq:
                return check.finding or _added(beyond, standing.seq), standing
            break
        if len(rows) < _ROWS_AT_ONCE:
            break
    return check.end(), standing


def _added(row: LoggedRow, end: int) -> Finding:
    return Finding(row.session_id, row.seq, f"event {row.seq} ({row.id}) was added: the session ends at {end}")


async def _proven(reader: TrailReader, redactions: Sequence[Redaction]) -> dict[int, Redaction]:
    """Return the redactions that the chain of the trail tells of: a row alone could be anybody's."""
    proven: dict[int, Redaction] = {}
    for each in redactions:
        for entry in await reader.entries(EntryQuery(limit=1, after=each.entry - 1)):
            told = orjson.loads(entry.body)["detail"]
            says = (told.get("session"), told.get("seq"), told.get("before"), told.get("after"))
            if entry.action == REDACTION and says == (each.session_id, each.seq, each.before, each.after):
                proven[each.seq] = each
    return proven


class SessionCheck:
    """The log of one session, verified row by row."""

    def __init__(self, session_id: str, standing: Standing, redactions: Mapping[int, Redaction]) -> None:
        self._id = session_id
        self._standing = standing
        self._redactions = redactions
        self._leaves: dict[int, list[Leaf]] = {}
        for leaf in standing.leaves:
            self._leaves.setdefault(leaf.seq, []).append(leaf)
        self._link = session_link(session_id)
        self.after = 0
        self.finding: Finding | None = None

    def take(self, rows: Sequence[LoggedRow]) -> None:
        """Verify the next rows, up to the first that is wrong."""
        for row in rows:
            self.finding = self._wrong(row)
            if self.finding is not None:
                return
            self.after = row.seq

    def _wrong(self, row: LoggedRow) -> Finding | None:
        expected = self.after + 1
        if row.seq != expected:
            return self._at(expected, f"event {expected} is missing: the next one is {row.seq}")
        told = row.processed_at, row.body, row.hidden, row.thread
        digest = event_digest(row.session_id, row.seq, row.id, row.type, *told)
        redaction = self._redactions.get(row.seq)
        if redaction is not None:
            if digest != redaction.after:
                return self._at(row.seq, f"event {row.seq} ({row.id}) was changed after it was redacted")
            digest = redaction.before
        self._link = link(self._link, digest)
        if row.link is not None and row.link != self._link:
            return self._at(
                row.seq, f"event {row.seq} ({row.id}) was changed, added, moved, or redacted without a record"
            )
        for leaf in self._leaves.pop(row.seq, ()):
            if leaf.head not in ("", self._link):
                return self._at(
                    row.seq,
                    f"event {row.seq} ({row.id}), or one since the seal before: rewritten since"
                    f" it was sealed by entry {leaf.entry}",
                )
        return None

    def end(self) -> Finding | None:
        """Say what is wrong of the log as a whole, when all rows are good."""
        if self.finding is not None:
            return self.finding
        standing, last = self._standing, self.after
        if standing.seq is None:
            return self._end_of_deleted()
        if standing.seq != last:
            return self._at(
                last + 1, f"event {last + 1} is missing: the log ends at {last}, its session at {standing.seq}"
            )
        if beyond := [leaf for leaf in standing.leaves if leaf.seq > last]:
            return self._at(
                last + 1, f"event {last + 1} is missing: entry {beyond[0].entry} sealed {beyond[0].seq} events"
            )
        return None

    def _end_of_deleted(self) -> Finding | None:
        standing = self._standing
        if self.after:
            return self._at(1, "there are events, but no session")
        if standing.deleted is None and not any(leaf.deleted for leaf in standing.leaves):
            entry = standing.leaves[-1].entry if standing.leaves else 0
            return self._at(1, f"the session is gone, though nobody deleted it: entry {entry} sealed its log")
        return None

    def _at(self, seq: int, message: str) -> Finding:
        return Finding(self._id, seq, message)
