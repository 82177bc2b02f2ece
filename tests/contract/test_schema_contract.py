"""The schema: it is what the statements are built from, only grows, and serves the release before."""

from __future__ import annotations

import ast
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from first_release import FirstRelease
from sqlalchemy import Connection, text
from store_records import Reopen, agent, claimed, logged, session, step, waiting

from agents.errors import InvalidRequest
from agents.ids import SessionId
from agents.store import migrate as migration
from agents.store.database import SqlStore, open_store
from agents.store.ports import SessionListing
from agents.store.postgres import PostgresDatabase
from agents.store.schema import is_current
from agents.store.sqlite import SqliteDatabase
from agents.store.tables import metadata

VERSIONS = Path(migration.__file__).parent / "migrations" / "versions"
_OLD_AGENT = "INSERT INTO agents (id, version, created_at) VALUES ('agent_1', 1, 0)"
_AGENTS = "SELECT id FROM agents"
EXPANDING = {"create_table", "create_index", "add_column", "bulk_insert", "execute", "get_bind", "f"}


@pytest.fixture
def location(empty_location: str) -> str:
    """The migrations are what is tested here."""
    return empty_location


@pytest.fixture
async def database(location: str) -> AsyncIterator[SqliteDatabase | PostgresDatabase]:
    """An empty database, before any migration."""
    opened = PostgresDatabase(location) if "://" in location else SqliteDatabase(Path(location))
    yield opened
    await opened.close()


async def test_the_migrated_schema_is_the_one_the_statements_are_built_from(reopen: Reopen) -> None:
    store = await reopen()

    def differences(connection: Connection) -> list[object]:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await store._database.read(differences) == []


async def test_opening_again_keeps_what_is_there(reopen: Reopen) -> None:
    await (await reopen()).agents.insert(agent())
    assert await (await reopen()).agents.get(agent().id) == agent()


@pytest.mark.parametrize("version", sorted(VERSIONS.glob("0*.py"))[1:], ids=lambda path: path.stem)
def test_a_migration_only_expands(version: Path) -> None:
    """What it may call is listed; a column that it adds may be null or has a default."""
    for node in ast.walk(ast.parse(version.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "op":
            assert node.func.attr in EXPANDING, f"{version.name}: op.{node.func.attr}"
            if node.func.attr == "add_column":
                added = ast.unparse(node)
                assert "nullable=True" in added or "server_default=" in added


REVISIONS = [path.stem.partition("_")[0] for path in sorted(VERSIONS.glob("0*.py"))]


@pytest.mark.parametrize("revision", REVISIONS[:-1])
async def test_a_database_of_any_earlier_schema_is_brought_up_to_date_at_start(revision: str, tmp_path: Path) -> None:
    """Also one that skipped releases; what is in it is there afterwards."""
    await upgraded(SqliteDatabase(tmp_path / "hecaton.db"), str(tmp_path / "hecaton.db"), revision)


@pytest.mark.parametrize("revision", [REVISIONS[0], REVISIONS[-2]])
async def test_so_is_one_in_postgresql(revision: str, empty_postgres_database: str) -> None:
    await upgraded(PostgresDatabase(empty_postgres_database), empty_postgres_database, revision)


async def upgraded(database: SqliteDatabase | PostgresDatabase, location: str, revision: str) -> None:
    """Make a database as the release of *revision* left it, and start this one on it."""
    await migration.migrate(database, revision)
    await database.write(lambda connection: connection.execute(text(_OLD_AGENT)).close())
    await database.close()
    store = await open_store(location)
    try:
        assert await is_current(store._database)
        assert await store._database.read(lambda connection: connection.execute(text(_AGENTS)).all()) == [("agent_1",)]
    finally:
        await store.close()


async def test_the_release_before_goes_on_working_on_this_schema(
    database: SqliteDatabase | PostgresDatabase, reopen: Reopen
) -> None:
    await migration.migrate(database, "0001")
    old = FirstRelease(database)
    assert await old.claim("old") == 1
    first, record = waiting(), session()
    await old.create(record)

    store = await reopen()  # this release starts, and migrates, while the old one works

    record = replace(record, seq=1, queued=1)
    await old.append(record, logged(n=1), queue=[first])
    record = replace(record, seq=2, queued=0, title="old")
    await old.append(record, replace(first, processed_at=record.updated_at), consume=[first.id])
    loaded = await store.log.load(SessionId(record.id))
    assert loaded.record == record
    assert [event.seq for event in loaded.events] == [1, 2] and loaded.queued == ()

    # The partition goes over to this release and back.
    await store._database.write(lambda connection: connection.execute(text("UPDATE leases SET owner=NULL")).close())
    lease = await claimed(store, owner="new")
    assert lease.epoch == 2
    commit = step(lease, record, logged(n=3), title="new", dispatched={"call": "host/1"}, principal="key")
    await store.log.append(commit)
    assert await old.claim("old") == 3
    row = await old.load(record.id)
    assert (row["seq"], row["partition"], row["status"]) == (3, 1, "idle")
    record = replace(commit.record, seq=4, dispatched={}, principal="")
    await old.append(record, logged(n=4))
    loaded = await store.log.load(SessionId(record.id))
    assert loaded.record == record
    assert [event.seq for event in loaded.events] == [1, 2, 3, 4]

    await old.delete(record.id)
    assert await store.log.deleted([1]) == []  # the old release clears away by itself


async def test_sessions_of_settled_runs_are_listed_by_their_deployment_after_the_migration(
    database: SqliteDatabase | PostgresDatabase, reopen: Reopen
) -> None:
    await migration.migrate(database, "0023")
    ours, other = session(deployment_id="depl_1"), session()
    for record in (ours, other):
        await FirstRelease(database).create(record)
    run = (
        "INSERT INTO deployment_runs "
        "(id, workspace_id, deployment_id, trigger_type, agent, reservation, session_id, created_at) "
        "VALUES ('drun_1', 'default', 'depl_1', 'manual', '{}', '{}', :session, 0)"
    )
    await database.write(lambda connection: connection.execute(text(run), {"session": ours.id}).close())
    assert [each.id for each in await (await reopen()).sessions.list(SessionListing(deployment_id="depl_1"))] == [
        ours.id
    ]


async def mark(store: SqlStore, revision: str, compatible_since: str | None) -> None:
    """Make the database look as a later release would leave it."""

    def work(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        if compatible_since is None:
            connection.execute(text("DROP TABLE schema_info"))
        else:
            connection.execute(text("UPDATE schema_info SET compatible_since = :since"), {"since": compatible_since})
        connection.execute(text("ALTER TABLE sessions ADD COLUMN later TEXT"))

    await store._database.write(work)


@pytest.mark.parametrize("since", ["0001", "0002", "0003"])
async def test_a_newer_database_that_still_serves_this_release_is_used_with_a_warning(
    reopen: Reopen, since: str, caplog: pytest.LogCaptureFixture
) -> None:
    await mark(await reopen(), "9999", since)
    with caplog.at_level(logging.WARNING, migration.__name__):
        store = await reopen()
    assert "9999" in caplog.text
    commit = step(await claimed(store), session(), logged())
    await store.log.create(commit)
    assert (await store.log.load(SessionId(commit.record.id))).record == commit.record


@pytest.mark.parametrize(("since", "reason"), [("9999", "from schema 9999 on"), (None, "does not say")])
async def test_a_database_that_left_this_release_behind_is_refused_with_the_reason(
    reopen: Reopen, location: str, since: str | None, reason: str
) -> None:
    await mark(await reopen(), "9999", since)
    with pytest.raises(InvalidRequest, match=reason):
        await open_store(location)
