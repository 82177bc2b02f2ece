"""Opening a store: one function for both databases.

A :class:`SqlStore` is every port over one connection pool; it is ready (migrated, reachable) once
:func:`open_store` returns.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from agents.clock import Clock, SystemClock
from agents.errors import InvalidRequest
from agents.governance.audit.settings import AuditSettings
from agents.store.agent_memory import SqlAgentMemory
from agents.store.api_keys import SqlApiKeys
from agents.store.audit_trail import SqlAuditTrail
from agents.store.call_records import SqlCallRecords
from agents.store.catalog import SqlAgents, SqlEnvironments
from agents.store.deployments import SqlDeployments
from agents.store.engine import DEADLINE_SECONDS, Database
from agents.store.environment_keys import SqlEnvironmentKeys
from agents.store.event_log import SqlEventLog
from agents.store.files import SqlFiles
from agents.store.hand_releases import SqlHandReleases
from agents.store.hands import SqlHands
from agents.store.leases import SqlLeases
from agents.store.meter import SqlMeter
from agents.store.owners import SqlOwners
from agents.store.releases import SqlReleases
from agents.store.schema import is_current
from agents.store.sealing import Sealer
from agents.store.session_tokens import SqlSessionTokens
from agents.store.sessions import SqlSessions
from agents.store.skills import SqlSkills
from agents.store.sqlite import SqliteDatabase
from agents.store.vaults import SqlVaults
from agents.store.webhook_registrations import SqlRegistrations
from agents.store.webhooks import SqlOutbox
from agents.store.work import SqlWorkQueue

_AUDIT = AuditSettings()
_PING_SECONDS = 2.0
"""Whoever asks whether the database answers wants to know it now."""


class SqlStore:
    """All repositories, the log, the leases and the meter of one database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        deadline: float = DEADLINE_SECONDS,
        audit: AuditSettings = _AUDIT,
    ) -> None:
        self._database = database
        sealer = Sealer(database, clock, audit)
        self.audit = SqlAuditTrail(database, clock, sealer)
        self.agents = SqlAgents(database)
        self.environments = SqlEnvironments(database, clock)
        self.sessions = SqlSessions(database)
        self.session_tokens = SqlSessionTokens(database)
        self.log = SqlEventLog(database, sealer, deadline=deadline, clock=clock)
        self.leases = SqlLeases(database, clock)
        self.meter = SqlMeter(database, clock)
        self.calls = SqlCallRecords(database, clock)
        self.releases = SqlReleases(database)
        self.vaults = SqlVaults(database, clock)
        self.memory = SqlAgentMemory(database, clock)
        self.skills = SqlSkills(database)
        self.deployments = SqlDeployments(database)
        self.api_keys = SqlApiKeys(database)
        self.owners = SqlOwners(database)
        self.work = SqlWorkQueue(database, clock)
        self.environment_keys = SqlEnvironmentKeys(database, clock)
        self.hands = SqlHands(database)
        self.hand_releases = SqlHandReleases(database)
        self.webhooks = SqlOutbox(database)
        self.webhook_registrations = SqlRegistrations(database)
        self.files = SqlFiles(database)

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""

        def work(connection: Connection) -> None:
            connection.execute(text("SELECT 1")).close()

        await self._database.read(work, deadline=_PING_SECONDS)

    async def close(self) -> None:
        """Write what was accepted, then give every connection back. Raises Unavailable."""
        try:
            await self.log.close()
            await self.meter.close()
            await self.audit.close()
        finally:
            await self._database.close()


async def open_store(
    where: str | Path,
    *,
    clock: Clock | None = None,
    deadline: float = DEADLINE_SECONDS,
    audit: AuditSettings = _AUDIT,
) -> SqlStore:
    """Open the store at a path (SQLite) or URL, bringing its schema up to date.

    *deadline* bounds every later call, in seconds: so long it rides out a database that is away.
    Raises InvalidRequest for a URL of another kind, Unavailable when the database does not answer.
    """
    database = open_database(where, deadline)
    try:
        if not await is_current(database):
            from agents.store.migrate import migrate  # loaded only when it is needed

            await migrate(database)
    except BaseException:
        await database.close()
        raise
    return SqlStore(database, clock or SystemClock(), deadline=deadline, audit=audit)


def open_database(where: str | Path, deadline: float = DEADLINE_SECONDS) -> Database:
    """Return the database at a path (SQLite) or URL, as it is. Raises InvalidRequest for a URL of another kind."""
    if isinstance(where, Path) or "://" not in where:
        return SqliteDatabase(Path(where), deadline=deadline)
    try:
        url = make_url(where)
    except ArgumentError:
        # Not chained: the message would show the password.
        raise InvalidRequest("database_url: not a URL") from None
    if url.drivername == "postgresql+asyncpg":
        from agents.store.postgres import PostgresDatabase  # a fifth of what a process loads that uses SQLite

        return PostgresDatabase(where, deadline=deadline)
    if url.get_backend_name() == "sqlite" and url.database:
        return SqliteDatabase(Path(url.database), deadline=deadline)
    raise InvalidRequest(f"database_url: {url.drivername} is not postgresql+asyncpg or sqlite")
