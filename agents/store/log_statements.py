"""The SQL of the event log, as plain functions of one open transaction.

Both databases run exactly these statements. Rows are locked in the order of their keys (leases
first), so that concurrent writers on PostgreSQL cannot deadlock; on SQLite the transaction holds the
write lock from its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, union, update
from sqlalchemy.dialects import postgresql, sqlite

from agents.errors import HecatonError, NotFound
from agents.ids import EventId, SessionId
from agents.sessions.events import Event, SessionRecord, SessionStatus
from agents.sessions.log import SessionSnapshot
from agents.store.batch import Change, Head, Holder, Kind, Stored, decide
from agents.store.codec import Row, event_of, queued_event_of, session_of
from agents.store.tables import deleted_sessions, events, leases, queue, session_snapshots, sessions

_Key = TypeVar("_Key", int, str)

_HOLDERS = (
    select(leases.c.partition, leases.c.owner, leases.c.epoch)
    .where(leases.c.partition.in_(bindparam("keys", expanding=True)))
    .order_by(leases.c.partition)
    .with_for_update(read=True)
)
_HEADS = (
    select(sessions.c.id, sessions.c.partition, sessions.c.seq, sessions.c.digest, sessions.c.stamp)
    .where(sessions.c.id.in_(bindparam("keys", expanding=True)))
    .order_by(sessions.c.id)
    .with_for_update()
)
_GONE = select(deleted_sessions.c.session_id, deleted_sessions.c.stamp).where(
    deleted_sessions.c.session_id.in_(bindparam("keys", expanding=True))
)
# Only what a commit changes: a column of an index that is set, even to the same value, costs an index write.
_PROGRESS = ("status", "seq", "queued", "updated_at", "archived_at", "state", "stamp")
_SNAPSHOT = ("agent", "environment")
_IDENTITY = ("agent_id", "agent_version", "environment_id", "digest")
_ADVANCE = (
    update(sessions).where(sessions.c.id == bindparam("key")).values({name: bindparam(name) for name in _PROGRESS})
)
_REPLACE_IDENTITY = (
    update(sessions).where(sessions.c.id == bindparam("key")).values({name: bindparam(name) for name in _IDENTITY})
)
_REPLACE_SNAPSHOT = (
    update(session_snapshots)
    .where(session_snapshots.c.session_id == bindparam("key"))
    .values(agent=bindparam("agent"), environment=bindparam("environment"))
)
_INSERT_SESSION = insert(sessions)
_INSERT_SNAPSHOT = insert(session_snapshots)
_INSERT_EVENTS = insert(events)
_INSERT_QUEUE = insert(queue)
_CONSUME = delete(queue).where(queue.c.session_id == bindparam("key"), queue.c.id == bindparam("event"))
_DELETES = tuple(
    delete(table).where(column == bindparam("key"))
    for table, column in (
        (events, events.c.session_id),
        (queue, queue.c.session_id),
        (session_snapshots, session_snapshots.c.session_id),
        (sessions, sessions.c.id),
    )
)
_UPSERT_DELETED = {"postgresql": postgresql.insert(deleted_sessions), "sqlite": sqlite.insert(deleted_sessions)}
_NOTE_DELETED = {
    name: insert.on_conflict_do_update(index_elements=["session_id"], set_={"stamp": insert.excluded.stamp})
    for name, insert in _UPSERT_DELETED.items()
}
_DELETED = (
    select(deleted_sessions.c.session_id)
    .where(deleted_sessions.c.partition.in_(bindparam("partitions", expanding=True)))
    .order_by(deleted_sessions.c.session_id)
)
_FORGET_DELETED = delete(deleted_sessions).where(deleted_sessions.c.session_id == bindparam("key"))
_AMONG_EVENTS, _AMONG_QUEUE = (
    select(table).where(table.c.session_id == bindparam("key"), table.c.id.in_(bindparam("ids", expanding=True)))
    for table in (events, queue)
)
WHOLE_SESSION = select(sessions, session_snapshots.c.agent, session_snapshots.c.environment).join_from(
    sessions, session_snapshots, sessions.c.id == session_snapshots.c.session_id
)
_SESSION = WHOLE_SESSION.where(sessions.c.id == bindparam("key"))
_EVENTS_AFTER = (
    select(events)
    .where(events.c.session_id == bindparam("key"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
)
_QUEUED = select(queue).where(queue.c.session_id == bindparam("key")).order_by(queue.c.arrival)
_UNFINISHED = union(
    select(sessions.c.id).where(
        sessions.c.partition.in_(bindparam("partitions", expanding=True)),
        or_(sessions.c.status == SessionStatus.RUNNING.value, sessions.c.status == SessionStatus.RESCHEDULING.value),
    ),
    select(sessions.c.id)
    .join(queue, queue.c.session_id == sessions.c.id)
    .where(sessions.c.partition.in_(bindparam("partitions", expanding=True))),
)


def write_batch(connection: Connection, changes: Sequence[Change]) -> list[HecatonError | None]:
    """Write every change that passes its checks; returns for each why it was refused, or None."""
    stored = _read_stored(connection, changes)
    refusals = decide(changes, stored)
    pairs = zip(changes, refusals, strict=True)
    accepted = [change for change, refusal in pairs if refusal is None and not stored.has(change)]
    _write_sessions(connection, accepted, stored.heads)
    _many(connection, _INSERT_EVENTS, (row for change in accepted for row in change.events))
    _many(connection, _INSERT_QUEUE, (row for change in accepted for row in change.queue))
    consumed = ({"key": change.session_id, "event": gone} for change in accepted for gone in change.consume)
    _many(connection, _CONSUME, consumed)
    return refusals


def _read_stored(connection: Connection, changes: Sequence[Change]) -> Stored:
    held = connection.execute(_HOLDERS, {"keys": _padded({change.lease.partition for change in changes})})
    holders = {row.partition: Holder(row.owner, row.epoch) for row in held}
    found = connection.execute(_HEADS, {"keys": _padded({change.session_id for change in changes})})
    heads = {row.id: Head(row.partition, row.seq, row.digest, row.stamp) for row in found}
    missing = {change.session_id for change in changes if change.kind is Kind.DELETE} - heads.keys()
    gone = connection.execute(_GONE, {"keys": _padded(missing)}) if missing else ()
    return Stored(holders, heads, {row.session_id: row.stamp for row in gone})


def _write_sessions(connection: Connection, accepted: Sequence[Change], heads: Mapping[str, Head]) -> None:
    created = [change for change in accepted if change.kind is Kind.CREATE]
    _many(connection, _INSERT_SESSION, (change.session for change in created))
    _many(connection, _INSERT_SNAPSHOT, (change.snapshot for change in created))
    advanced = [change for change in accepted if change.kind is Kind.APPEND]
    _many(connection, _ADVANCE, (_keyed(change, change.session, _PROGRESS) for change in advanced))
    changed = [change for change in advanced if heads[change.session_id].digest != change.session["digest"]]
    _many(connection, _REPLACE_IDENTITY, (_keyed(change, change.session, _IDENTITY) for change in changed))
    _many(connection, _REPLACE_SNAPSHOT, (_keyed(change, change.snapshot, _SNAPSHOT) for change in changed))
    deleted = [change for change in accepted if change.kind is Kind.DELETE]
    for statement in _DELETES:
        _many(connection, statement, ({"key": change.session_id} for change in deleted))
    _many(connection, _NOTE_DELETED[connection.dialect.name], (_note(change) for change in deleted))


def read_session(connection: Connection, session_id: str) -> SessionRecord:
    """Raises NotFound."""
    row = connection.execute(_SESSION, {"key": session_id}).mappings().first()
    if row is None:
        raise NotFound(f"session {session_id} not found")
    return session_of(row)


def read_whole(connection: Connection, session_id: str) -> SessionSnapshot:
    """Raises NotFound."""
    record = read_session(connection, session_id)
    logged = connection.execute(_EVENTS_AFTER, {"key": session_id, "after": 0}).mappings()
    queued = connection.execute(_QUEUED, {"key": session_id}).mappings()
    return SessionSnapshot(record, tuple(map(event_of, logged)), tuple(map(queued_event_of, queued)))


def read_after(connection: Connection, session_id: str, after: int, limit: int) -> list[Event]:
    rows = connection.execute(_EVENTS_AFTER.limit(limit), {"key": session_id, "after": after}).mappings()
    return [event_of(row) for row in rows]


def read_unfinished(connection: Connection, partitions: Sequence[int]) -> list[SessionId]:
    rows = connection.execute(_UNFINISHED, {"partitions": list(partitions)}).scalars()
    return sorted(SessionId(row) for row in rows)


def read_deleted(connection: Connection, partitions: Sequence[int]) -> list[SessionId]:
    return [SessionId(row) for row in connection.execute(_DELETED, {"partitions": list(partitions)}).scalars()]


def forget_deleted(connection: Connection, session_id: str) -> None:
    connection.execute(_FORGET_DELETED, {"key": session_id}).close()


def read_among(connection: Connection, session_id: str, event_ids: Sequence[EventId]) -> list[Event]:
    """Return those of *event_ids* that are in the session's log or queue, in the order asked."""
    asked = {"key": session_id, "ids": _padded(set(event_ids))}
    known = {row["id"]: event_of(row) for row in connection.execute(_AMONG_EVENTS, asked).mappings()}
    known |= {row["id"]: queued_event_of(row) for row in connection.execute(_AMONG_QUEUE, asked).mappings()}
    return [known[event_id] for event_id in event_ids if event_id in known]


def _note(change: Change) -> Row:
    return {"session_id": change.session_id, "partition": change.partition, "stamp": change.stamp}


def _many(connection: Connection, statement: Any, rows: Iterable[Row]) -> None:
    every = list(rows)
    if every:
        connection.execute(statement, every)


def _keyed(change: Change, row: Row, names: tuple[str, ...]) -> Row:
    keyed: Row = {name: row[name] for name in names}
    keyed["key"] = change.session_id
    return keyed


def _padded(keys: set[_Key]) -> list[_Key]:
    """Repeat a key up to the next power of two: few distinct statements, so that they stay prepared."""
    padded = sorted(keys)
    padded += padded[-1:] * ((1 << (len(padded) - 1).bit_length()) - len(padded))
    return padded
