"""Whether a database already has this release's schema: one query, without the machinery of migrations.

That machinery (Alembic) is a sixth of what a process loads at its start, and hardly ever needed: a process
that starts again, while sessions wait for it, finds the schema as it left it.
"""

from __future__ import annotations

from sqlalchemy import Connection, column, inspect, select, table

from agents.store.engine import Database

HEAD = "0025"
"""The newest revision in ``migrations/versions`` (a test compares them)."""
_VERSIONS = table("alembic_version", column("version_num"))


async def is_current(database: Database) -> bool:
    """Say whether the schema is this release's. Raises Unavailable."""

    def work(connection: Connection) -> bool:
        if not inspect(connection).has_table(_VERSIONS.name):
            return False
        return list(connection.execute(select(_VERSIONS.c.version_num)).scalars()) == [HEAD]

    return await database.read(work)
