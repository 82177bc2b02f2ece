"""Reading the event log: plain functions of one open transaction, the same on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, or_, select, union

from agents.errors import NotFound
from agents.ids import SessionId
from agents.sessions.events import Event, SessionRecord, SessionStatus
from agents.sessions.log import SessionSnapshot
from agents.store.codec import event_of, micros, queued_event_of, session_of, thread_of
from agents.store.tables import deleted_sessions, events, queue, session_snapshots, sessions, threads

_DELETED = (
    select(deleted_sessions.c.session_id)
    .where(deleted_sessions.c.partition.in_(bindparam("partitions", expanding=True)))
    .order_by(deleted_sessions.c.session_id)
)
_FORGET_DELETED = delete(deleted_sessions).where(deleted_sessions.c.session_id == bindparam("key"))
WHOLE_SESSION = select(
    sessions, session_snapshots.c.agent, session_snapshots.c.environment, session_snapshots.c.resources
).join_from(sessions, session_snapshots, sessions.c.id == session_snapshots.c.session_id)
_SESSION = WHOLE_SESSION.where(sessions.c.id == bindparam("key"))
_EVENTS_AFTER = (
    select(events)
    .where(events.c.session_id == bindparam("key"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
)
_QUEUED = select(queue).where(queue.c.session_id == bindparam("key")).order_by(queue.c.arrival)
_THREADS = select(threads).where(threads.c.session_id == bindparam("key")).order_by(threads.c.created_at, threads.c.id)
_UNFINISHED = union(
    select(sessions.c.id).where(
        sessions.c.partition.in_(bindparam("partitions", expanding=True)),
        or_(sessions.c.status == SessionStatus.RUNNING.value, sessions.c.status == SessionStatus.RESCHEDULING.value),
    ),
    select(sessions.c.id)
    .join(queue, queue.c.session_id == sessions.c.id)
    .where(sessions.c.partition.in_(bindparam("partitions", expanding=True))),
)
_CHANGED = (
    select(sessions.c.id)
    .where(
        sessions.c.partition.in_(bindparam("partitions", expanding=True)),
        sessions.c.updated_at >= bindparam("since"),
    )
    .order_by(sessions.c.id)
)


def read_session(connection: Connection, session_id: str) -> SessionRecord:
    """Raises NotFound."""
    row = connection.execute(_SESSION, {"key": session_id}).mappings().first()
    if row is None:
        raise NotFound(f"session {session_id} not found")
    return session_of(row)


def read_whole(connection: Connection, session_id: str) -> tuple[SessionSnapshot, str | None]:
    """Return a session, and the link of its last event. Raises NotFound."""
    record = read_session(connection, session_id)
    logged = connection.execute(_EVENTS_AFTER, {"key": session_id, "after": 0}).mappings().all()
    queued = connection.execute(_QUEUED, {"key": session_id}).mappings()
    told = connection.execute(_THREADS, {"key": session_id}).mappings()
    snapshot = SessionSnapshot(
        record, tuple(map(event_of, logged)), tuple(map(queued_event_of, queued)), tuple(map(thread_of, told))
    )
    return snapshot, logged[-1]["link"] if logged else None


def read_after(connection: Connection, session_id: str, after: int, limit: int) -> list[Event]:
    rows = connection.execute(_EVENTS_AFTER.limit(limit), {"key": session_id, "after": after}).mappings()
    return [event_of(row) for row in rows]


def read_unfinished(connection: Connection, partitions: Sequence[int]) -> list[SessionId]:
    rows = connection.execute(_UNFINISHED, {"partitions": list(partitions)}).scalars()
    return sorted(SessionId(row) for row in rows)


def read_changed(connection: Connection, partitions: Sequence[int], since: datetime) -> list[SessionId]:
    among = {"partitions": list(partitions), "since": micros(since)}
    return [SessionId(row) for row in connection.execute(_CHANGED, among).scalars()]


def read_deleted(connection: Connection, partitions: Sequence[int]) -> list[SessionId]:
    return [SessionId(row) for row in connection.execute(_DELETED, {"partitions": list(partitions)}).scalars()]


def forget_deleted(connection: Connection, session_id: str) -> None:
    connection.execute(_FORGET_DELETED, {"key": session_id}).close()
