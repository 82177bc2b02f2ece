"""Reading sessions and their history from a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, func, select, tuple_, union_all

from agents.errors import NotFound
from agents.ids import SessionId
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus, ThreadRecord
from agents.store.codec import (
    EVENT_TYPES,
    RowView,
    clamped,
    event_of,
    findable,
    micros,
    queued_event_of,
    session_of,
    thread_of,
)
from agents.store.engine import Database
from agents.store.log_reading import WHOLE_SESSION, read_session
from agents.store.paging import Column, page, within
from agents.store.ports import EventListing, SessionCensus, SessionListing, ThreadListing
from agents.store.tables import NOT_IDLE, events, leases, memory_attachments, queue, sessions, threads

if TYPE_CHECKING:
    from agents.store.paging import Statement


class SqlSessions:
    """The SessionRepository of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, session_id: SessionId) -> SessionRecord:
        """Raises NotFound, Unavailable."""
        if not findable(session_id):
            raise NotFound("session not found")
        return await self._database.read(lambda connection: read_session(connection, session_id))

    async def list(self, query: SessionListing) -> Sequence[SessionRecord]:
        """List sessions, up to ``limit + 1``. Raises Unavailable."""
        columns = sessions.c
        statement = page(
            WHOLE_SESSION, columns.created_at, columns.id, columns.archived_at, query, workspace=columns.workspace_id
        )
        if query.agent_id is not None:
            if not findable(query.agent_id):
                return []
            statement = statement.where(sessions.c.agent_id == query.agent_id)
        if query.agent_version is not None:
            if not findable(query.agent_version):
                return []
            statement = statement.where(sessions.c.agent_version == query.agent_version)
        if query.deployment_id is not None:
            if not findable(query.deployment_id):
                return []
            statement = statement.where(sessions.c.deployment_id == query.deployment_id)
        if query.memory_store_id is not None:
            if not findable(query.memory_store_id):
                return []
            having = select(memory_attachments.c.session_id)
            having = having.where(memory_attachments.c.store_id == query.memory_store_id)
            statement = statement.where(sessions.c.id.in_(having))
        of_status = [statement.where(_is(status)) for status in dict.fromkeys(query.statuses) if findable(status)]
        wanted = of_status if query.statuses else [statement]
        found = await self._database.read(lambda connection: [*chain(*(_rows(connection, each) for each in wanted))])
        found.sort(key=lambda row: (row["created_at"], row["id"]), reverse=query.order != "asc")
        return [session_of(row) for row in found[: query.limit + 1]]

    async def events(self, session_id: SessionId, query: EventListing) -> Sequence[Event]:
        """Read a page of the history, log and queue as of one moment. Raises NotFound, Unavailable."""
        if not findable(session_id):
            raise NotFound("session not found")
        return await self._database.read(lambda connection: _history(connection, session_id, query))

    async def position(self, session_id: SessionId, event_id: str) -> int | None:
        """Find the log position of an event of this session. Raises Unavailable."""
        if not (findable(session_id) and findable(event_id)):
            return None
        statement = select(events.c.seq).where(events.c.id == event_id, events.c.session_id == session_id)
        return await self._database.read(lambda connection: connection.execute(statement).scalar())

    async def threads(self, session_id: SessionId, query: ThreadListing) -> Sequence[ThreadRecord]:
        """See SessionRepository.threads."""
        if not findable(session_id):
            return []
        columns = threads.c
        statement = select(threads).where(columns.session_id == session_id)
        if query.statuses:
            statement = statement.where(columns.status.in_(query.statuses))
        if query.after is not None:
            moment, name = query.after
            place = tuple_(columns.created_at, columns.id)
            statement = statement.where(place > (micros(moment), name if findable(name) else ""))
        statement = statement.order_by(columns.created_at, columns.id).limit(query.limit + 1)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [thread_of(row) for row in rows]

    async def thread(self, session_id: SessionId, thread_id: str) -> ThreadRecord | None:
        """See SessionRepository.thread."""
        if not (findable(session_id) and findable(thread_id)):
            return None
        statement = select(threads).where(threads.c.id == thread_id, threads.c.session_id == session_id)
        row = await self._database.read(lambda connection: connection.execute(statement).mappings().first())
        return None if row is None else thread_of(row)

    async def census(self, quiet_since: datetime) -> SessionCensus:
        """See SessionRepository.census; reads only an index, but for sessions that run."""
        counts = select(sessions.c.status, func.count()).group_by(sessions.c.status)
        busy = sessions.c.status.in_([SessionStatus.RUNNING.value, SessionStatus.RESCHEDULING.value])
        # By the index of partition and status: of the many that rest no row is read.
        somewhere = sessions.c.partition.in_(select(leases.c.partition))
        stuck = select(func.count()).where(somewhere, busy, sessions.c.updated_at < micros(quiet_since))

        def work(connection: Connection) -> SessionCensus:
            by_status = {status: int(count) for status, count in connection.execute(counts)}
            return SessionCensus(by_status, int(connection.execute(stuck).scalar_one()))

        return await self._database.read(work)

    async def environment_of(self, session_id: SessionId) -> str | None:
        """Name the environment of a session. Raises Unavailable."""
        if not findable(session_id):
            return None
        statement = select(sessions.c.environment_id).where(sessions.c.id == session_id)
        return await self._database.read(lambda connection: connection.execute(statement).scalar())


def _is(status: str) -> ColumnElement[bool]:
    """Said so that the index of what is not idle can be used."""
    is_it = sessions.c.status == status
    return is_it if status == SessionStatus.IDLE else and_(is_it, NOT_IDLE)


def _rows(connection: Connection, statement: Statement) -> Sequence[RowView]:
    return connection.execute(statement).mappings().all()


def _history(connection: Connection, session_id: SessionId, query: EventListing) -> list[Event]:
    if connection.execute(select(sessions.c.id).where(sessions.c.id == session_id)).first() is None:
        raise NotFound(f"session {session_id} not found")
    logged = _logged(connection, session_id, query)
    queued = _queued(connection, session_id, query) if may_show_queue(query) else []
    return with_queued(logged, queued, query)


def _shown(query: EventListing) -> ColumnElement[bool]:
    if query.thread is None:
        return events.c.thread_id.is_(None) | (events.c.crossposted == 1)
    return events.c.thread_id == query.thread


def _logged(connection: Connection, session_id: SessionId, query: EventListing) -> list[Event]:
    its = (events.c.session_id == session_id) & _shown(query)
    statement = within(select(events).where(its), events.c.processed_at, query)
    if query.after is not None:
        after = clamped(query.after)
        statement = statement.where(events.c.seq > after if query.order == "asc" else events.c.seq < after)
    page_of = _first(statement, events.c.seq, query)
    if query.types:
        # A page of each type by the index that leads with it, then the first of them all. One condition for "any of
        # these" would have the database read every event from the cursor on, or every event of these types.
        kinds = sorted(EVENT_TYPES.keys() & set(query.types))
        pages = [_first(statement.where(events.c.type == kind), events.c.seq, query) for kind in kinds]
        if not pages:
            return []
        merged = union_all(*(select(each.subquery()) for each in pages)).subquery()
        page_of = _first(select(merged), merged.c.seq, query)
    return [event_of(row) for row in connection.execute(page_of).mappings()]


def _first(statement: Statement, seq: Column, query: EventListing) -> Statement:
    return statement.order_by(seq if query.order == "asc" else seq.desc()).limit(query.limit + 1)


def _queued(connection: Connection, session_id: SessionId, query: EventListing) -> list[Event]:
    # What threads tell each other is shown with its place in the log, and not before.
    ours = queue.c.thread_id.is_(None) if query.thread is None else queue.c.thread_id == query.thread
    told = queue.c.type != EventType.THREAD_MESSAGE_RECEIVED.value
    statement = select(queue).where(queue.c.session_id == session_id, ours, told)
    if query.types:
        statement = statement.where(queue.c.type.in_(filter(findable, query.types)))
    ascending = query.order == "asc"
    statement = statement.order_by(queue.c.arrival if ascending else queue.c.arrival.desc()).limit(query.limit + 1)
    return [queued_event_of(row) for row in connection.execute(statement).mappings()]


def may_show_queue(query: EventListing) -> bool:
    """Whether a page can hold queued events: they have no time, and descending they come before any cursor."""
    bounds = (query.created_gt, query.created_gte, query.created_lt, query.created_lte)
    return bounds == (None, None, None, None) and (query.order == "asc" or query.after is None)


def with_queued(logged: Sequence[Event], queued: Sequence[Event], query: EventListing) -> list[Event]:
    """Join both parts of a page, each already in the direction of travel.

    A cursor can only name a logged event. So a page of queued events alone never claims that more
    follow, and descending the queue leaves room for one logged event: every reader gets to the end.
    """
    if not logged:
        return list(queued[: query.limit])
    if query.order == "asc":
        return [*logged, *queued][: query.limit + 1]
    return [*queued[: query.limit - 1], *logged][: query.limit + 1]
