"""The in-memory repositories: agents, environments and the reading side of sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Protocol, TypeVar

from agents.clock import Clock
from agents.errors import Conflict, NotFound
from agents.ids import SessionId
from agents.listing import Listing
from agents.memory.attaching import access_to
from agents.sessions.events import Event, SessionRecord, SessionStatus, ThreadRecord
from agents.store.catalog_news import environment_news
from agents.store.codec import (
    Row,
    agent_of,
    agent_rows,
    environment_of,
    environment_row,
    event_of,
    queued_event_of,
    thread_of,
)
from agents.store.ports import (
    AgentRecord,
    EnvironmentRecord,
    EventListing,
    SessionCensus,
    SessionListing,
    ThreadListing,
)
from agents.store.sessions import may_show_queue, with_queued
from agents.webhooks.announcing import Announce, Announcement, silent


class _Stored(Protocol):
    @property
    def events(self) -> list[Row]: ...
    @property
    def queue(self) -> dict[str, Row]: ...
    @property
    def threads(self) -> dict[str, Row]: ...
    def record(self) -> SessionRecord: ...


class _Sessions(Protocol):
    @property
    def sessions(self) -> Mapping[str, _Stored]: ...
    def stored(self, session_id: str) -> _Stored: ...
    def position(self, session_id: str, event_id: str) -> int | None: ...


class MemoryAgents:
    """The AgentRepository of one process."""

    def __init__(self, announce: Announce = silent) -> None:
        self._announce = announce
        self._versions: dict[str, dict[int, AgentRecord]] = {}

    async def insert(self, agent: AgentRecord) -> None:
        if agent.id in self._versions:
            raise Conflict(f"agent {agent.id} already exists")
        self._versions[agent.id] = {agent.version: _copied(agent)}
        self._announce(Announcement("agent.created", agent.id, agent.workspace_id, agent.created_at))

    async def get(self, agent_id: str, version: int | None = None) -> AgentRecord:
        versions = self._of(agent_id)
        found = versions.get(max(versions) if version is None else version)
        if found is None:
            raise NotFound(f"agent {agent_id} has no version {version}")
        return _copied(found)

    async def update(self, agent: AgentRecord, *, expected_version: int) -> None:
        versions = self._of(agent.id)
        newest = versions[max(versions)]
        if newest.version != expected_version or agent.version in versions:
            raise Conflict(f"agent {agent.id} is at version {newest.version}, not {expected_version}")
        kept = replace(
            agent,
            created_at=newest.created_at,
            archived_at=newest.archived_at,
            workspace_id=newest.workspace_id,
        )
        versions[agent.version] = _copied(kept)
        self._announce(Announcement("agent.updated", kept.id, kept.workspace_id, kept.updated_at))

    async def archive(self, agent_id: str, moment: datetime) -> AgentRecord:
        versions = self._of(agent_id)
        if (newest := versions[max(versions)]).archived_at is None:
            self._announce(Announcement("agent.archived", agent_id, newest.workspace_id, moment))
        for number, version in versions.items():
            versions[number] = replace(version, archived_at=version.archived_at or moment)
        return await self.get(agent_id)

    async def list(self, query: Listing) -> Sequence[AgentRecord]:
        return [_copied(agent) for agent in memory_page((each[max(each)] for each in self._versions.values()), query)]

    async def versions(self, agent_id: str, *, below: int | None, limit: int) -> Sequence[AgentRecord]:
        numbers = [number for number in self._of(agent_id) if below is None or number < below]
        return [await self.get(agent_id, number) for number in sorted(numbers, reverse=True)[: limit + 1]]

    def _of(self, agent_id: str) -> dict[int, AgentRecord]:
        versions = self._versions.get(agent_id)
        if versions is None:
            raise NotFound(f"agent {agent_id} not found")
        return versions


class MemoryEnvironments:
    """The EnvironmentRepository of one process."""

    def __init__(
        self,
        log: _Sessions,
        clock: Clock,
        *,
        forget: Callable[[str], None] = lambda _: None,
        announce: Announce = silent,
    ) -> None:
        """*forget* hears of an environment that is deleted."""
        self._clock = clock
        self._announce = announce
        self._log = log
        self._forget = forget
        self._rows: dict[str, EnvironmentRecord] = {}

    async def insert(self, environment: EnvironmentRecord) -> None:
        if environment.id in self._rows:
            raise Conflict(f"environment {environment.id} already exists")
        self._put(environment)
        created = environment.created_at
        self._announce(Announcement("environment.created", environment.id, environment.workspace_id, created))

    async def get(self, environment_id: str) -> EnvironmentRecord:
        found = self._rows.get(environment_id)
        if found is None:
            raise NotFound(f"environment {environment_id} not found")
        return environment_of(environment_row(found))

    async def update(self, environment: EnvironmentRecord) -> None:
        stored = await self.get(environment.id)
        self._put(replace(environment, workspace_id=stored.workspace_id))
        self._announce(environment_news(stored, environment))

    async def delete(self, environment_id: str) -> None:
        stored = await self.get(environment_id)
        if any(each.record().environment_id == environment_id for each in self._log.sessions.values()):
            raise Conflict(f"environment {environment_id} is used by sessions")
        del self._rows[environment_id]
        self._forget(environment_id)
        now = self._clock.now()
        self._announce(Announcement("environment.deleted", environment_id, stored.workspace_id, now))

    async def list(self, query: Listing) -> Sequence[EnvironmentRecord]:
        return [environment_of(environment_row(each)) for each in memory_page(self._rows.values(), query)]

    def _put(self, environment: EnvironmentRecord) -> None:
        stored = environment_of(environment_row(environment))
        live = environment.archived_at is None
        for other in self._rows.values():
            if live and other.id != stored.id and other.archived_at is None and _same_name(other, stored):
                raise Conflict(f"an environment named {stored.name!r} already exists")
        self._rows[stored.id] = stored


def _same_name(one: EnvironmentRecord, other: EnvironmentRecord) -> bool:
    return (one.workspace_id, one.name) == (other.workspace_id, other.name)


class MemorySessions:
    """The SessionRepository of one process."""

    def __init__(self, log: _Sessions) -> None:
        self._log = log

    async def get(self, session_id: SessionId) -> SessionRecord:
        return self._log.stored(session_id).record()

    async def list(self, query: SessionListing) -> Sequence[SessionRecord]:
        every = (stored.record() for stored in self._log.sessions.values())
        return memory_page((record for record in every if _matches(record, query)), query)

    async def events(self, session_id: SessionId, query: EventListing) -> Sequence[Event]:
        stored = self._log.stored(session_id)
        ascending = query.order == "asc"
        logged = [event for event in map(event_of, stored.events) if _wanted(event, query)]
        queued = [event for event in map(queued_event_of, stored.queue.values()) if _wanted(event, query)]
        if not ascending:
            logged.reverse()
            queued.reverse()
        return with_queued(logged[: query.limit + 1], queued if may_show_queue(query) else [], query)

    async def position(self, session_id: SessionId, event_id: str) -> int | None:
        return self._log.position(session_id, event_id)

    async def threads(self, session_id: SessionId, query: ThreadListing) -> Sequence[ThreadRecord]:
        stored = self._log.sessions.get(session_id)
        rows = [] if stored is None else [thread_of(row) for row in stored.threads.values()]
        kept = [row for row in rows if not query.statuses or row.status.value in query.statuses]
        placed = sorted(kept, key=attrgetter("created_at", "id"))
        after = [row for row in placed if query.after is None or (row.created_at, row.id) > query.after]
        return after[: query.limit + 1]

    async def thread(self, session_id: SessionId, thread_id: str) -> ThreadRecord | None:
        stored = self._log.sessions.get(session_id)
        row = None if stored is None else stored.threads.get(thread_id)
        return None if row is None else thread_of(row)

    async def census(self, quiet_since: datetime) -> SessionCensus:
        records = [stored.record() for stored in self._log.sessions.values()]
        busy = (SessionStatus.RUNNING, SessionStatus.RESCHEDULING)
        stuck = sum(record.status in busy and record.updated_at < quiet_since for record in records)
        return SessionCensus(Counter(record.status.value for record in records), stuck)

    async def environment_of(self, session_id: SessionId) -> str | None:
        stored = self._log.sessions.get(session_id)
        return None if stored is None else stored.record().environment_id


class _Dated(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def archived_at(self) -> datetime | None: ...


_Record = TypeVar("_Record", bound=_Dated)


def memory_page(records: Iterable[_Record], query: Listing) -> list[_Record]:
    """Return the rows of a Listing, up to ``limit + 1``."""
    ascending = query.order == "asc"
    kept = [
        record
        for record in records
        if (query.include_archived or record.archived_at is None)
        and query.workspace_id in (None, getattr(record, "workspace_id", ""))
        and _in_bounds(record.created_at, query)
        and (query.after is None or _is_after((record.created_at, record.id), query.after, ascending))
    ]
    return sorted(kept, key=attrgetter("created_at", "id"), reverse=not ascending)[: query.limit + 1]


def _is_after(place: tuple[datetime, str], cursor: tuple[datetime, str], ascending: bool) -> bool:
    return place > cursor if ascending else place < cursor


def _in_bounds(moment: datetime, query: Listing | EventListing) -> bool:
    return (
        (query.created_gt is None or moment > query.created_gt)
        and (query.created_gte is None or moment >= query.created_gte)
        and (query.created_lt is None or moment < query.created_lt)
        and (query.created_lte is None or moment <= query.created_lte)
    )


def _matches(record: SessionRecord, query: SessionListing) -> bool:
    return (
        query.agent_id in (None, record.agent_id)
        and query.agent_version in (None, record.agent_version)
        and query.deployment_id in (None, record.deployment_id)
        and (not query.statuses or record.status in query.statuses)
        and (query.memory_store_id is None or access_to(record.resources, query.memory_store_id) is not None)
    )


def _wanted(event: Event, query: EventListing) -> bool:
    if not (event.shown_in(query.thread) and (event.seq is not None or event.type.from_client)):
        return False
    if query.types and event.type not in query.types:
        return False
    if event.processed_at is not None and not _in_bounds(event.processed_at, query):
        return False
    if event.seq is None or query.after is None:
        return True
    return event.seq > query.after if query.order == "asc" else event.seq < query.after


def _copied(agent: AgentRecord) -> AgentRecord:
    """Return what a database would give back: the caller's dicts are not shared."""
    head, version = agent_rows(agent)
    return agent_of({**head, **version})
