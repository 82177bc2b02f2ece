"""Agents and environments on a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from agents.clock import Clock
from agents.errors import Conflict, NotFound
from agents.listing import Listing
from agents.store.announcing import announce
from agents.store.catalog_news import environment_news
from agents.store.codec import agent_of, agent_rows, clamped, environment_of, environment_row, findable, micros
from agents.store.engine import Database
from agents.store.paging import page
from agents.store.ports import AgentRecord, EnvironmentRecord
from agents.store.tables import agent_versions, agents, environment_keys, environments, sessions, work_pollers
from agents.webhooks.announcing import Announcement

_VERSIONS = select(
    agents.c.id,
    agents.c.workspace_id,
    agents.c.created_at,
    agents.c.archived_at,
    agent_versions.c.version,
    agent_versions.c.body,
    agent_versions.c.updated_at,
).join_from(agents, agent_versions, agents.c.id == agent_versions.c.agent_id)
_NEWEST = _VERSIONS.where(agent_versions.c.version == agents.c.version)


class SqlAgents:
    """The AgentRepository of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, agent: AgentRecord) -> None:
        """Store a new agent. Raises Conflict when its id is taken, Unavailable."""
        head, version = agent_rows(agent)

        def work(connection: Connection) -> None:
            connection.execute(insert(agents), head)
            connection.execute(insert(agent_versions), version)
            announce(connection, Announcement("agent.created", agent.id, agent.workspace_id, agent.created_at))

        await self._database.write(work)

    async def get(self, agent_id: str, version: int | None = None) -> AgentRecord:
        """Return one version, by default the newest. Raises NotFound, Unavailable."""
        return await self._database.read(lambda connection: _get_agent(connection, agent_id, version))

    async def update(self, agent: AgentRecord, *, expected_version: int) -> None:
        """Store the next version. Raises NotFound, Conflict, Unavailable."""
        head, version = agent_rows(agent)
        # The condition decides between writers that race; the reading before it tells the faults apart.
        advance = update(agents).where(agents.c.id == agent.id, agents.c.version == expected_version)

        def work(connection: Connection) -> None:
            stored = _get_agent(connection, agent.id, None)
            if (
                stored.version != expected_version
                or not connection.execute(advance.values(version=head["version"])).rowcount
            ):
                raise Conflict(f"agent {agent.id} is no longer at version {expected_version}")
            connection.execute(insert(agent_versions), version)
            announce(connection, Announcement("agent.updated", agent.id, stored.workspace_id, agent.updated_at))

        await self._database.write(work)

    async def archive(self, agent_id: str, moment: datetime) -> AgentRecord:
        """Archive; the first moment stays. Raises NotFound, Unavailable."""
        live = update(agents).where(agents.c.id == agent_id, agents.c.archived_at.is_(None))

        def work(connection: Connection) -> AgentRecord:
            stored = _get_agent(connection, agent_id, None)
            if connection.execute(live.values(archived_at=micros(moment))).rowcount:
                announce(connection, Announcement("agent.archived", agent_id, stored.workspace_id, moment))
            return _get_agent(connection, agent_id, None)

        return await self._database.write(work)

    async def list(self, query: Listing) -> Sequence[AgentRecord]:
        """List the newest version of each agent, up to ``limit + 1``. Raises Unavailable."""
        columns = agents.c
        statement = page(
            _NEWEST, columns.created_at, columns.id, columns.archived_at, query, workspace=columns.workspace_id
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [agent_of(row) for row in rows]

    async def versions(self, agent_id: str, *, below: int | None, limit: int) -> Sequence[AgentRecord]:
        """List versions, newest first, up to ``limit + 1``. Raises NotFound, Unavailable."""
        statement = _VERSIONS.where(agents.c.id == agent_id)
        if below is not None:
            statement = statement.where(agent_versions.c.version < clamped(below))
        statement = statement.order_by(agent_versions.c.version.desc()).limit(limit + 1)

        def work(connection: Connection) -> list[AgentRecord]:
            _get_agent(connection, agent_id, None)
            return [agent_of(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)


def _get_agent(connection: Connection, agent_id: str, version: int | None) -> AgentRecord:
    wanted = _NEWEST if version is None else _VERSIONS.where(agent_versions.c.version == version)
    row = None
    if findable(agent_id) and (version is None or findable(version)):
        row = connection.execute(wanted.where(agents.c.id == agent_id)).mappings().first()
    if row is None:
        suffix = "" if version is None else f" has no version {version}"
        raise NotFound(f"agent {agent_id}{suffix or ' not found'}")
    return agent_of(row)


class SqlEnvironments:
    """The EnvironmentRepository of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def insert(self, environment: EnvironmentRecord) -> None:
        """Store a new environment. Raises Conflict when its name or id is taken, Unavailable."""
        row = environment_row(environment)

        def work(connection: Connection) -> None:
            _refuse_taken_name(connection, environment)
            connection.execute(insert(environments), row)
            news = Announcement("environment.created", environment.id, environment.workspace_id, environment.created_at)
            announce(connection, news)

        await self._database.write(work)

    async def get(self, environment_id: str) -> EnvironmentRecord:
        """Raises NotFound, Unavailable."""
        return await self._database.read(lambda connection: _get_environment(connection, environment_id))

    async def update(self, environment: EnvironmentRecord) -> None:
        """Replace the row. Raises NotFound, Conflict on a name that is taken, Unavailable."""
        row = environment_row(environment)
        del row["workspace_id"]  # whose it is never changes

        def work(connection: Connection) -> None:
            stored = _get_environment(connection, environment.id)
            _refuse_taken_name(connection, replace(environment, workspace_id=stored.workspace_id))
            connection.execute(update(environments).where(environments.c.id == environment.id).values(row))
            announce(connection, environment_news(stored, environment))

        await self._database.write(work)

    async def delete(self, environment_id: str) -> None:
        """Raises NotFound, Conflict while a session refers to it, Unavailable."""
        users = select(sessions.c.id).where(sessions.c.environment_id == environment_id).limit(1)

        def work(connection: Connection) -> None:
            stored = _get_environment(connection, environment_id)
            if connection.execute(users).first() is not None:
                raise Conflict(f"environment {environment_id} is used by sessions")
            for table in (environment_keys, work_pollers):
                connection.execute(delete(table).where(table.c.environment_id == environment_id)).close()
            connection.execute(delete(environments).where(environments.c.id == environment_id))
            gone = Announcement("environment.deleted", environment_id, stored.workspace_id, self._clock.now())
            announce(connection, gone)

        await self._database.write(work)

    async def list(self, query: Listing) -> Sequence[EnvironmentRecord]:
        """List environments, up to ``limit + 1``. Raises Unavailable."""
        columns = environments.c
        statement = page(
            select(environments),
            columns.created_at,
            columns.id,
            columns.archived_at,
            query,
            workspace=columns.workspace_id,
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [environment_of(row) for row in rows]


def _get_environment(connection: Connection, environment_id: str) -> EnvironmentRecord:
    row = None
    if findable(environment_id):
        row = connection.execute(select(environments).where(environments.c.id == environment_id)).mappings().first()
    if row is None:
        raise NotFound(f"environment {environment_id} not found")
    return environment_of(row)


def _refuse_taken_name(connection: Connection, environment: EnvironmentRecord) -> None:
    # For a message that names the fault; the unique index decides between writers that race.
    if environment.archived_at is not None:
        return
    holder = select(environments.c.id).where(
        environments.c.workspace_id == environment.workspace_id,
        environments.c.name == environment.name,
        environments.c.archived_at.is_(None),
        environments.c.id != environment.id,
    )
    if connection.execute(holder).first() is not None:
        raise Conflict(f"an environment named {environment.name!r} already exists")
