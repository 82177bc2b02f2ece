"""Which workspace an object belongs to, on a database."""

from __future__ import annotations

from sqlalchemy import select

from agents.access.records import Owned
from agents.store.codec import findable
from agents.store.engine import Database
from agents.store.tables import (
    agents,
    deployment_runs,
    deployments,
    environments,
    files,
    memory_stores,
    sessions,
    skills,
    vaults,
)

_TABLES = {
    "agent": agents,
    "environment": environments,
    "session": sessions,
    "vault": vaults,
    "memory_store": memory_stores,
    "file": files,
    "skill": skills,
    "deployment": deployments,
    "deployment_run": deployment_runs,
}


class SqlOwners:
    """The Owners of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def workspace_of(self, kind: Owned, object_id: str) -> str | None:
        """See Owners.workspace_of."""
        if not findable(object_id):
            return None
        columns = _TABLES[kind].c
        wanted = select(columns.workspace_id).where(columns.id == object_id)
        return await self._database.read(lambda connection: connection.execute(wanted).scalar())
