"""What a group commit writes, as one script: read what is stored, judge every change, write the good ones.

Rows are locked in the order of their keys, leases first, so that concurrent writers on PostgreSQL cannot
deadlock; on SQLite the transaction holds the write lock from its start. What was read is locked until the
commit: nobody can claim a partition between the check of its lease and the commit that relies on it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence

from sqlalchemy import ClauseElement, bindparam, literal_column, null, select, union_all
from sqlalchemy import update as update_of

from agents.errors import HecatonError
from agents.store.announcing import TELL
from agents.store.batch import Change, Head, Holder, Kind, Stored, decide, deletion_news
from agents.store.codec import Row
from agents.store.script import Among, Ask, Rows, Script, Statement, Write, insert, query, remove, update
from agents.store.tables import (
    audit_deletions,
    audit_holds,
    audit_redactions,
    call_records,
    deleted_sessions,
    events,
    leases,
    memory_attachments,
    queue,
    session_snapshots,
    sessions,
    threads,
    work_items,
)


def _standing(among: Among) -> ClauseElement:
    """Holders and heads in one question: each question costs PostgreSQL's client a round trip."""
    held = (
        select(leases.c.partition, leases.c.owner, leases.c.epoch)
        .where(among(leases.c.partition, "partitions"))
        .order_by(leases.c.partition)
        .with_for_update(read=True)
        .cte("held")
    )
    found = (
        select(sessions.c.partition, sessions.c.id, sessions.c.seq, sessions.c.digest, sessions.c.stamp)
        .where(among(sessions.c.id, "ids"))
        .order_by(sessions.c.id)
        .with_for_update()
        .cte("found")
    )
    return union_all(
        select(held.c.partition, null(), held.c.epoch, held.c.owner, null()),
        select(found.c.partition, found.c.id, found.c.seq, found.c.digest, found.c.stamp),
    )


def _gone(among: Among) -> ClauseElement:
    wanted = among(deleted_sessions.c.session_id, "ids")
    return select(deleted_sessions.c.session_id, deleted_sessions.c.stamp).where(wanted)


def _held(among: Among) -> ClauseElement:
    return select(audit_holds.c.session_id).where(among(audit_holds.c.session_id, "ids"))


def _ends(among: Among) -> ClauseElement:
    """How far logs have come, for the tombstones of sessions that are deleted."""
    last = (sessions.c.id == events.c.session_id) & (sessions.c.seq == events.c.seq)
    wanted = among(sessions.c.id, "ids")
    return select(sessions.c.id, sessions.c.seq, events.c.link).select_from(sessions.join(events, last)).where(wanted)


def _advance_alone(_: Among) -> ClauseElement:
    """The checks of ``decide`` and the write in one statement, for the one append that all is well with."""
    lease = (
        select(leases.c.partition)
        .where(
            leases.c.partition == bindparam("held_partition"),
            leases.c.owner == bindparam("owner"),
            leases.c.epoch == bindparam("epoch"),
        )
        .with_for_update(read=True)
        .cte("lease")
    )
    return (
        update_of(sessions)
        .where(
            sessions.c.id == bindparam("session_id"),
            # Not the bare column: PostgreSQL would look through the index of all the partition's sessions.
            sessions.c.partition + literal_column("0") == select(lease.c.partition).scalar_subquery(),
            sessions.c.seq == bindparam("expected_seq"),
            sessions.c.digest == bindparam("known_digest"),
            sessions.c.stamp.is_distinct_from(bindparam("known_stamp")),
        )
        .values({name: bindparam(name) for name in _PROGRESS})
        .returning(sessions.c.id)
    )


def _owners(among: Among) -> ClauseElement:
    return select(sessions.c.id, sessions.c.workspace_id).where(among(sessions.c.id, "ids"))


Steps = Generator[Write, Rows, None]

# Only what a commit changes: a column of an index that is set, even to the same value, costs an index write.
_PROGRESS = ("status", "seq", "queued", "updated_at", "archived_at", "state", "stamp")
_IDENTITY = ("agent_id", "agent_version", "environment_id", "digest")
_WAITING = ("session_id", "id", "type", "body", "hidden", "thread_id")

_STANDING = query(_standing)
_GONE = query(_gone)
_HELD = query(_held)
_ENDS = query(_ends)
_OWNERS = query(_owners)
_INSERT_SESSION = insert(sessions, *sessions.c.keys())
_INSERT_SNAPSHOT = insert(session_snapshots, *session_snapshots.c.keys())
_INSERT_EVENTS = insert(events, *events.c.keys())
_INSERT_QUEUE = insert(queue, *_WAITING)
_INSERT_THREADS = insert(threads, *threads.c.keys())
_ADVANCE_THREADS = update(threads, {"id": "id"}, "status", "archived_at", "state")
_NOTE_DELETED = insert(deleted_sessions, *deleted_sessions.c.keys(), replace_on="session_id")
_ADVANCE_ALONE = query(_advance_alone)
_ADVANCE = update(sessions, {"id": "id"}, *_PROGRESS)
_REPLACE_IDENTITY = update(sessions, {"id": "id"}, *_IDENTITY)
_REPLACE_SNAPSHOT = update(session_snapshots, {"session_id": "session_id"}, "agent", "environment", "resources")
_WANT_WORK = insert(work_items, *work_items.c.keys(), keep=True)
_END_WORK = update(work_items, {"session_id": "session_id", "found": "state"}, "state", "stopped_at")
_INSERT_CALLS = insert(call_records, *call_records.c.keys(), keep=True)
_CONSUME = remove(queue, {"session_id": "session_id", "id": "id"})
_OF_A_SESSION = (events, queue, threads, session_snapshots, work_items, audit_redactions, memory_attachments)
_REMOVE = tuple(remove(table, {"session_id": "session_id"}) for table in _OF_A_SESSION)
_TOMBSTONE = insert(audit_deletions, *audit_deletions.c.keys(), keep=True)
_REMOVE_SESSION = remove(sessions, {"session_id": "id"})


def write_batch(changes: Sequence[Change]) -> Script[list[HecatonError | None]]:
    """Write every change that passes its checks; returns for each why it was refused, or None."""
    if len(changes) == 1 and (yield from _advanced_alone(changes[0])):
        yield from _write_events(changes)
        return [None]
    stored = yield from _read_stored(changes)
    refusals, accepted = decide(changes, stored)
    yield from _write_sessions(accepted, stored.heads)
    yield from _write_events(accepted)
    return refusals


def _advanced_alone(change: Change) -> Script[bool]:
    """Try without a question first, which a lone append would spend a good part of its time on.

    Whatever is not as it should be is found out by asking, in the same transaction.
    """
    lease = change.lease
    if change.kind is not Kind.APPEND or change.partition != lease.partition:
        return False
    known = {
        "held_partition": lease.partition,
        "owner": lease.owner,
        "epoch": lease.epoch,
        "session_id": change.session_id,
        "expected_seq": change.expected_seq,
        "known_digest": change.session["digest"],
        "known_stamp": change.stamp,
    }
    return bool((yield Ask(_ADVANCE_ALONE, {**change.session, **known})))


def _write_events(accepted: Sequence[Change]) -> Steps:
    yield from _many(_INSERT_EVENTS, (row for change in accepted for row in change.events))
    yield from _many(_INSERT_CALLS, (row for change in accepted for row in change.calls))
    yield from _many(_INSERT_THREADS, (row for change in accepted for row in change.new_threads))
    yield from _many(_ADVANCE_THREADS, (row for change in accepted for row in change.threads))
    yield from _many(_INSERT_QUEUE, (row for change in accepted for row in change.queue))
    consumed = ({"session_id": change.session_id, "id": gone} for change in accepted for gone in change.consume)
    yield from _many(_CONSUME, consumed)
    # After the session's row, which a worker that gives its item up locks first: see ``agents.store.work``.
    yield from _many(_WANT_WORK, (change.wanted for change in accepted if change.wanted is not None))
    yield from _many(_END_WORK, (change.over for change in accepted if change.over is not None))
    yield from _many(TELL, (row for change in accepted for row in change.news))


def _read_stored(changes: Sequence[Change]) -> Script[Stored]:
    partitions = list({change.lease.partition for change in changes})
    rows = yield Ask(_STANDING, {"partitions": partitions, "ids": [change.session_id for change in changes]})
    holders: dict[int, Holder] = {}
    heads: dict[str, Head] = {}
    for partition, session_id, number, text, stamp in rows:
        if session_id is None:
            holders[partition] = Holder(owner=text, epoch=number)
        else:
            heads[session_id] = Head(partition, seq=number, digest=text, stamp=stamp)
    deleted = [change.session_id for change in changes if change.kind is Kind.DELETE]
    if not deleted:
        return Stored(holders, heads, {})
    missing = [session_id for session_id in deleted if session_id not in heads]
    gone = (yield Ask(_GONE, {"ids": missing})) if missing else ()
    held = yield Ask(_HELD, {"ids": deleted})
    return Stored(holders, heads, {session_id: stamp for session_id, stamp in gone}, [row[0] for row in held])


def _write_sessions(accepted: Sequence[Change], heads: Mapping[str, Head]) -> Script[None]:
    created = [change for change in accepted if change.kind is Kind.CREATE]
    yield from _many(_INSERT_SESSION, (change.session for change in created))
    yield from _many(_INSERT_SNAPSHOT, (change.snapshot() for change in created))
    advanced = [change for change in accepted if change.kind is Kind.APPEND]
    yield from _many(_ADVANCE, (change.session for change in advanced))
    changed = [change for change in advanced if heads[change.session_id].digest != change.session["digest"]]
    yield from _many(_REPLACE_IDENTITY, (change.session for change in changed))
    yield from _many(_REPLACE_SNAPSHOT, (change.snapshot() for change in changed))
    deleted = [
        {"session_id": change.session_id, "partition": change.partition, "stamp": change.stamp}
        for change in accepted
        if change.kind is Kind.DELETE
    ]
    if not deleted:
        return
    ends = yield Ask(_ENDS, {"ids": [row["session_id"] for row in deleted]})
    yield from _many(_TOMBSTONE, [{"session_id": name, "seq": seq, "head": head or ""} for name, seq, head in ends])
    gone = {change.session_id: change for change in accepted if change.kind is Kind.DELETE}
    owners = yield Ask(_OWNERS, {"ids": list(gone)})
    yield from _many(TELL, [deletion_news(gone[name], workspace) for name, workspace in owners])
    for statement in (*_REMOVE, _REMOVE_SESSION, _NOTE_DELETED):
        yield from _many(statement, deleted)


def _many(statement: Statement, rows: Iterable[Row]) -> Steps:
    every = list(rows)
    if every:
        yield Write(statement, every)
