"""Ports to the catalog: agents, environments and the reading side of sessions.

Rows are frozen records; ``body`` is the resolved resource as the API shows it, less its ids and times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from agents.access.records import ApiKeys, Owners
from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.deployments.records import DeploymentRepository
from agents.economics.hand_calls import CallRecords
from agents.files.records import FileRecords
from agents.governance.audit.trail import AuditTrail
from agents.hands.deployed.records import HandRecords
from agents.ids import SessionId
from agents.listing import Listing
from agents.memory.records import MemoryRepository
from agents.sessions.events import Event, SessionRecord, ThreadRecord
from agents.skills.records import SkillRepository
from agents.vaults.records import VaultRepository
from agents.webhooks.registrations import Registrations
from agents.workers.ports import EnvironmentKeys, WorkQueue


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """One version of an agent. ``created_at`` is the agent's, ``updated_at`` this version's."""

    id: str
    version: int
    body: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None
    workspace_id: str = DEFAULT_WORKSPACE


@dataclass(frozen=True, slots=True)
class EnvironmentRecord:
    """One environment; ``body`` holds config, description, metadata, scope."""

    id: str
    name: str
    body: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None
    workspace_id: str = DEFAULT_WORKSPACE


@dataclass(frozen=True, slots=True)
class SessionListing(Listing):
    """A page of sessions, with the filters of GET /v1/sessions."""

    agent_id: str | None = None
    agent_version: int | None = None
    deployment_id: str | None = None
    statuses: tuple[str, ...] = ()
    memory_store_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventListing:
    """A page of a session's history in log order.

    ``after`` is a log position (exclusive, in the direction of travel); time bounds are on
    ``processed_at`` (queued events, which have none, then drop out).
    """

    limit: int = 1000
    after: int | None = None
    order: Literal["asc", "desc"] = "asc"
    types: tuple[str, ...] = ()
    thread: str | None = None
    """Whose events; None: what the session's own list shows, which is its primary thread's."""
    created_gt: datetime | None = None
    created_gte: datetime | None = None
    created_lt: datetime | None = None
    created_lte: datetime | None = None


@dataclass(frozen=True, slots=True)
class ThreadListing:
    """A page of a session's threads: ``after`` is the moment of creation and the id of the last one before it."""

    limit: int = 1000
    after: tuple[datetime, str] | None = None
    statuses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionCensus:
    """How many sessions there are."""

    by_status: Mapping[str, int]
    stuck: int
    """Of those that run or are about to, those that have not changed for long."""


class AgentRepository(Protocol):
    async def insert(self, agent: AgentRecord) -> None: ...

    async def get(self, agent_id: str, version: int | None = None) -> AgentRecord:
        """Return one version (default: newest). ``archived_at`` is the agent's. Raises NotFound."""
        ...

    async def update(self, agent: AgentRecord, *, expected_version: int) -> None:
        """Store a new version. Raises Conflict when the newest stored one is not *expected_version*."""
        ...

    async def archive(self, agent_id: str, moment: datetime) -> AgentRecord:
        """Archive (idempotent: the first moment stays). Raises NotFound."""
        ...

    async def list(self, query: Listing) -> Sequence[AgentRecord]:
        """List the newest version of each agent, up to ``limit + 1`` rows (one more tells of a next page)."""
        ...

    async def versions(self, agent_id: str, *, below: int | None, limit: int) -> Sequence[AgentRecord]:
        """List versions, newest first, with ``version < below``, up to ``limit + 1``. Raises NotFound."""
        ...


class EnvironmentRepository(Protocol):
    async def insert(self, environment: EnvironmentRecord) -> None:
        """Raises Conflict when an environment of the workspace that is not archived has the name."""
        ...

    async def get(self, environment_id: str) -> EnvironmentRecord: ...

    async def update(self, environment: EnvironmentRecord) -> None:
        """Replace the row. Raises NotFound, or Conflict on a name that is taken."""
        ...

    async def delete(self, environment_id: str) -> None:
        """Raises NotFound, or Conflict while a session refers to it."""
        ...

    async def list(self, query: Listing) -> Sequence[EnvironmentRecord]:
        """Up to ``limit + 1`` rows."""
        ...


class SessionRepository(Protocol):
    """Reading sessions; writing goes through the log's owner."""

    async def get(self, session_id: SessionId) -> SessionRecord:
        """Raises NotFound."""
        ...

    async def list(self, query: SessionListing) -> Sequence[SessionRecord]:
        """Up to ``limit + 1`` rows."""
        ...

    async def events(self, session_id: SessionId, query: EventListing) -> Sequence[Event]:
        """Up to ``limit + 1`` events: the log first, then (ascending; descending: before it) what is queued.

        A queued event has no position: it never moves a cursor. Raises NotFound.
        """
        ...

    async def position(self, session_id: SessionId, event_id: str) -> int | None:
        """The log position of an event of this session, or None."""
        ...

    async def census(self, quiet_since: datetime) -> SessionCensus:
        """Count all sessions, and those that run although they have not changed since then. Raises Unavailable."""
        ...

    async def threads(self, session_id: SessionId, query: ThreadListing) -> Sequence[ThreadRecord]:
        """Up to ``limit + 1`` rows, the oldest first; none of a session that has only its primary."""
        ...

    async def thread(self, session_id: SessionId, thread_id: str) -> ThreadRecord | None:
        """The row of a thread of this session, if there is one. Raises Unavailable."""
        ...

    async def environment_of(self, session_id: SessionId) -> str | None:
        """The environment that the session is in; None when there is no such session."""
        ...


class Store(Protocol):
    """All repositories behind one connection pool."""

    @property
    def agents(self) -> AgentRepository: ...

    @property
    def environments(self) -> EnvironmentRepository: ...

    @property
    def sessions(self) -> SessionRepository: ...

    @property
    def vaults(self) -> VaultRepository: ...

    @property
    def memory(self) -> MemoryRepository: ...

    @property
    def skills(self) -> SkillRepository: ...

    @property
    def deployments(self) -> DeploymentRepository: ...

    @property
    def environment_keys(self) -> EnvironmentKeys: ...

    @property
    def api_keys(self) -> ApiKeys: ...

    @property
    def owners(self) -> Owners: ...

    @property
    def work(self) -> WorkQueue: ...

    @property
    def calls(self) -> CallRecords: ...

    @property
    def hands(self) -> HandRecords: ...

    @property
    def audit(self) -> AuditTrail: ...

    @property
    def webhook_registrations(self) -> Registrations: ...

    @property
    def files(self) -> FileRecords: ...

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        ...

    async def close(self) -> None: ...
