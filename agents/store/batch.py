"""What one group commit may do: the decision, apart from any database.

Every change is judged against the stored leases and session heads that were read in the same
transaction: a refused change fails alone, the others of its batch go through. A batch holds at most
one change of a session, so that no change depends on another of its batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from agents.errors import Conflict, Fenced, HecatonError, LogConflict, NotFound
from agents.ids import SessionId
from agents.sessions.events import SessionRecord
from agents.sessions.log import Commit, Lease, new_stamp
from agents.store.announcing import announcement_row
from agents.store.call_records import call_rows
from agents.store.codec import Row, event_row, session_row, snapshot_digest, snapshot_row, thread_progress, thread_row
from agents.store.work_rows import first_item_row, last_item_row
from agents.webhooks.announcing import Announcement
from agents.webhooks.session_news import session_news


class Kind(Enum):
    CREATE = auto()
    APPEND = auto()
    DELETE = auto()


@dataclass(slots=True)
class Head:
    """What the store knows of a session before the batch."""

    partition: int
    seq: int
    digest: str
    stamp: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a partition."""

    owner: str | None
    epoch: int


@dataclass(slots=True)
class Change:
    """One change of one session, already in the form of rows, so that the transaction only writes."""

    kind: Kind
    lease: Lease
    session_id: str
    partition: int
    stamp: str
    expected_seq: int = 0
    session: Row = field(default_factory=lambda: {})
    events: Sequence[Row] = ()
    queue: Sequence[Row] = ()
    consume: Sequence[str] = ()
    record: SessionRecord | None = None
    wanted: Row | None = None
    """The item that the session is to have in the queue for workers, if it has none."""
    over: Row | None = None
    """What ends the session's item in that queue, if no worker has it."""
    threads: Sequence[Row] = ()
    """What of threads has changed."""
    new_threads: Sequence[Row] = ()
    calls: Sequence[Row] = ()
    """Calls of servers whose results are among the events, for the books."""
    news: Sequence[Row] = ()
    """What it tells webhooks."""
    at: datetime | None = None
    """Of a deletion: when it was asked for. What it tells is known once the session was read."""

    def snapshot(self) -> Row:
        """Return the row of the session's snapshot, which hardly any change has to write."""
        assert self.record is not None
        return snapshot_row(self.record)


class Digests:
    """The digests of snapshots, by session, so that not every commit encodes and hashes its snapshot.

    Records are immutable, so the same objects make the same snapshot. Bounded; it may forget.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: OrderedDict[str, tuple[object, object, object, str]] = OrderedDict()

    def of(self, record: SessionRecord) -> str:
        """Raises InvalidRequest for a snapshot that cannot be stored."""
        known = self._known.get(record.id)
        parts = (record.agent, record.environment, record.resources)
        if known is None or any(was is not now for was, now in zip(known, parts, strict=False)):
            known = self._known[record.id] = (*parts, snapshot_digest(record))
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        self._known.move_to_end(record.id)
        return known[3]

    def forget(self, session_id: str) -> None:
        """Let go of a session that is no more, and of its snapshot."""
        self._known.pop(session_id, None)


def change_of(kind: Kind, commit: Commit, digest_of: Callable[[SessionRecord], str] = snapshot_digest) -> Change:
    """Encode a commit. Raises InvalidRequest for content that cannot be stored, ValueError for a wrong ``seq``."""
    record = commit.record
    if record.seq != commit.expected_seq + len(commit.events):
        raise ValueError("a commit's record must stand at the position of its last event")
    session = session_row(record, digest_of(record))
    session["stamp"] = commit.stamp
    return Change(
        kind=kind,
        lease=commit.lease,
        session_id=record.id,
        partition=record.partition,
        stamp=commit.stamp,
        expected_seq=commit.expected_seq,
        session=session,
        events=[event_row(record.id, event, seq) for seq, event in enumerate(commit.events, commit.expected_seq + 1)],
        queue=[event_row(record.id, event) for event in commit.queue],
        consume=commit.consume,
        record=record,
        wanted=first_item_row(record) if commit.work == "wanted" else None,
        over=last_item_row(record) if commit.work == "over" else None,
        calls=call_rows(record, commit.events),
        news=[announcement_row(each) for each in session_news(record, commit.events, created=kind is Kind.CREATE)],
        threads=[thread_progress(thread) for thread in commit.threads],
        new_threads=[thread_row(thread) for thread in commit.new_threads],
    )


def deletion_of(lease: Lease, session_id: SessionId, at: datetime) -> Change:
    return Change(Kind.DELETE, lease, session_id, lease.partition, new_stamp(), at=at)


def deletion_news(change: Change, workspace_id: str) -> Row:
    """Return what the deletion of a session of *workspace_id* tells."""
    assert change.at is not None
    return announcement_row(Announcement("session.deleted", change.session_id, workspace_id, change.at))


def under_hold(session_id: str) -> Conflict:
    """What answers whoever would delete or redact a session under legal hold."""
    return Conflict(f"session {session_id} is under legal hold: it cannot be deleted or redacted")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a batch is judged against, read in its own transaction.

    ``deleted`` are the stamps of deletions, of sessions that the batch wants to delete and that are not there.
    """

    holders: Mapping[int, Holder]
    heads: Mapping[str, Head]
    deleted: Mapping[str, str | None]
    held: Collection[str] = ()
    """Those that the batch wants to delete and that are under legal hold."""

    def has(self, change: Change) -> bool:
        """Whether this very change was written before, by an attempt whose outcome nobody heard."""
        if change.kind is Kind.DELETE:
            return self.deleted.get(change.session_id) == change.stamp
        head = self.heads.get(change.session_id)
        return head is not None and head.stamp == change.stamp


def decide(changes: Sequence[Change], stored: Stored) -> tuple[list[HecatonError | None], list[Change]]:
    """Return for each change why it is refused, or None; and those that are to be written.

    A change that was written before is neither refused nor written.
    """
    refusals: list[HecatonError | None] = []
    accepted: list[Change] = []
    for change in changes:
        # What is written is told as such even to a writer that has lost its lease since: it is the truth.
        before = stored.has(change)
        refusal = None if before else _refusal(change, stored)
        refusals.append(refusal)
        if refusal is None and not before:
            accepted.append(change)
    return refusals, accepted


def _refusal(change: Change, stored: Stored) -> HecatonError | None:
    # An expired lease that nobody took is still good: only a new owner, and with it a new epoch, fences.
    lease, holder, head = change.lease, stored.holders.get(change.lease.partition), stored.heads.get(change.session_id)
    elsewhere = change.partition != lease.partition or (head is not None and head.partition != lease.partition)
    if elsewhere or holder is None or holder.owner != lease.owner or holder.epoch != lease.epoch:
        return Fenced(f"partition {change.partition} is no longer held by {lease.owner} at epoch {lease.epoch}")
    if change.kind is Kind.CREATE:
        return LogConflict(f"session {change.session_id} is already stored") if head else None
    if head is None:
        return NotFound(f"session {change.session_id} not found")
    if change.kind is Kind.DELETE and change.session_id in stored.held:
        return under_hold(change.session_id)
    if change.kind is Kind.APPEND and head.seq != change.expected_seq:
        return LogConflict(f"session {change.session_id} stands at {head.seq}, not at {change.expected_seq}")
    return None
