"""A migration of a database that processes of the release before are working on (PostgreSQL; SQLite has one writer).

Bug class this catches: a migration that has one table, and waits for another that a commit or a load has, which waits
for the first: PostgreSQL ends one of them, the migration too, and that one begins anew, to the same end.
"""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from first_release import FirstRelease
from sqlalchemy import event
from sqlalchemy.engine import make_url
from store_records import session

from agents.store.migrate import migrate
from agents.store.postgres import PostgresDatabase
from agents.store.schema import is_current

_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
_PATIENCE = 20.0
COMMIT = (
    "UPDATE sessions SET seq = seq + 1",
    "INSERT INTO events (session_id, seq, id, type, processed_at, body) "
    "SELECT id, 1, 'sevt_1', 'user.message', 0, '{}' FROM sessions",
)
LOAD = (
    "SELECT agent FROM sessions JOIN session_snapshots ON session_snapshots.session_id = sessions.id",
    "SELECT seq FROM events",
)
REMOVAL = ("DELETE FROM environments", "SELECT id FROM sessions")
"""What a release has in one transaction: it waits for the second when a migration came after the first."""


async def connected(url: str) -> asyncpg.Connection:
    parts = make_url(url)
    return await asyncpg.connect(host=str(parts.query["host"]), user=parts.username, database=parts.database)


@pytest.mark.parametrize(
    ("revision", "transaction"),
    [("0015", COMMIT), ("0015", LOAD), ("0012", REMOVAL)],
    ids=["commit", "load", "removed environment"],
)
async def test_a_migration_deadlocks_with_no_transaction_of_the_release_before(
    empty_postgres_database: str, revision: str, transaction: tuple[str, str]
) -> None:
    database, errors = PostgresDatabase(empty_postgres_database), list[BaseException]()
    await migrate(database, revision)
    await FirstRelease(database).create(session())
    first, then = transaction
    event.listen(database._engine.sync_engine, "handle_error", lambda met: errors.append(met.original_exception))
    at_work, watching = await connected(empty_postgres_database), await connected(empty_postgres_database)
    try:
        async with at_work.transaction():
            await at_work.execute(first)
            migrating = asyncio.create_task(migrate(database))
            async with asyncio.timeout(_PATIENCE):
                while not await watching.fetchval(_WAITING):
                    assert not migrating.done()
                await at_work.execute(then)
        await migrating
        assert await is_current(database)
        assert errors == []
    finally:
        await at_work.close()
        await watching.close()
        await database.close()
