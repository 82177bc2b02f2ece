"""A database as the release with schema 0012 left it is taken over whole by this one (docs/upgrade.md).

``release_0012.jsonl`` is what that release's own code wrote, a row of each table at least; it never changes.
Bug class this catches: a migration, or a reader, that does not know what was written before workspaces and the trail.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, insert, select, text
from store_records import T0, claimed, logged, step

from agents.access.records import Owned
from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.backup.making import BackupOrder, make_backup
from agents.backup.restoring import RestoreOrder, restore_backup
from agents.clock import ManualClock
from agents.config import Settings
from agents.governance.audit.verification import Finding, verify_entries, verify_sessions
from agents.ids import SessionId
from agents.listing import Listing
from agents.sessions.events import SessionStatus
from agents.store import migrate as migration
from agents.store.database import SqlStore, open_store
from agents.store.ports import SessionListing
from agents.store.postgres import PostgresDatabase
from agents.store.sqlite import SqliteDatabase
from agents.workers.credentials import digest_of

Rows = dict[str, list[dict[str, Any]]]
IDLE, RUNNING = SessionId("sesn_00000000000000000000000001"), SessionId("sesn_00000000000000000000000002")
OBJECTS: dict[Owned, str] = {"agent": "agent_0001", "environment": "env_0001", "session": IDLE, "vault": "vlt_0001"}
OURS = {"alembic_version", "schema_info"}


def rows_of_then() -> Rows:
    found: Rows = {}
    for line in (Path(__file__).parent / "release_0012.jsonl").read_text(encoding="utf-8").splitlines():
        table, row = json.loads(line)
        found.setdefault(table, []).append(row)
    for row in found["hand_sources"]:
        row["archive"] = b64decode(row["archive"])
    return found


def there(connection: Connection) -> Rows:
    """Every row of every table."""
    metadata = MetaData()
    metadata.reflect(connection)
    return {
        table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
        for table in metadata.sorted_tables
        if table.name not in OURS
    }


async def left_by_then(at: str) -> str:
    """Make a database at *at* what the release with schema 0012 would have left."""
    rows = rows_of_then()

    def write(connection: Connection) -> None:
        metadata = MetaData()
        metadata.reflect(connection)
        assert {table.name for table in metadata.sorted_tables} - OURS == set(rows), "a row of each table"
        for table in metadata.sorted_tables:
            if table.name not in OURS:
                connection.execute(insert(table), rows[table.name])

    database = PostgresDatabase(at) if "://" in at else SqliteDatabase(Path(at))
    await migration.migrate(database, "0012")
    await database.write(write)
    await database.close()
    return at


@pytest.fixture
async def location(empty_location: str) -> str:
    """Where a database of that release is."""
    return await left_by_then(empty_location)


@pytest.fixture
async def store(location: str) -> AsyncIterator[SqlStore]:
    """This release, a minute later: the leases of then are over."""
    opened = await open_store(location, clock=ManualClock(T0 + timedelta(minutes=1)))
    yield opened
    await opened.close()


async def findings(store: SqlStore) -> list[Finding]:
    return [*(await verify_entries(store.audit, 1000)).findings, *(await verify_sessions(store.audit, 1000)).findings]


async def test_no_row_is_lost_or_changed(store: SqlStore) -> None:
    after = await store._database.read(there)
    for table, rows in rows_of_then().items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]]
        assert sorted(kept, key=str) == sorted(rows, key=str), table


async def test_everything_is_the_default_workspaces_and_no_others(store: SqlStore) -> None:
    for kind, name in OBJECTS.items():
        assert await store.owners.workspace_of(kind, name) == DEFAULT_WORKSPACE
    for workspace, count in ((DEFAULT_WORKSPACE, 1), ("team-a", 0)):
        listing = Listing(workspace_id=workspace)
        assert len(await store.agents.list(listing)) == count
        assert len(await store.environments.list(listing)) == 2 * count
        assert len(await store.vaults.list(listing, "default")) == count
        assert len(await store.sessions.list(SessionListing(workspace_id=workspace))) == 2 * count
    key = await store.environment_keys.find(digest_of("sk-ant-oat01-hcenv-of-then"))
    assert key is not None and key.environment_id == "env_0002"
    assert not await store.api_keys.exist()


async def test_sessions_go_on_where_they_were(store: SqlStore) -> None:
    lease = await claimed(store, owner="new")
    assert lease.epoch == 2
    loaded = await store.log.load(IDLE)
    [waiting] = loaded.queued
    assert (loaded.record.title, loaded.record.workspace_version, loaded.record.usage.input_tokens) == (
        "titled ☃",
        3,
        1,
    )
    await store.log.append(step(lease, loaded.record, waiting.processed(T0), consume=[waiting.id], queued=0))
    again = await store.log.load(IDLE)
    assert [event.seq for event in again.events] == [1, 2, 3, 4, 5] and again.queued == ()
    running = (await store.log.load(RUNNING)).record
    assert running.status is SessionStatus.RUNNING
    found = await store.work.claim("env_0002", reclaim_seconds=5)
    assert found is not None and found[0].session_id == RUNNING


async def test_the_audit_begins_from_there_and_covers_what_was_there(store: SqlStore) -> None:
    assert await store.audit.head() is None and await findings(store) == []
    lease = await claimed(store, owner="new")
    await store.log.append(step(lease, (await store.log.load(IDLE)).record, logged()))
    assert await store.audit.seal() == 1
    assert await findings(store) == []
    # Once its log has grown, what was in it before is sealed, too.
    changed = text("UPDATE events SET body = '{\"content\":[]}' WHERE session_id = :id AND seq = 2")
    await store._database.write(lambda connection: connection.execute(changed, {"id": IDLE}).close())
    assert [finding.session for finding in await findings(store)] == [IDLE]


async def test_a_backup_of_then_is_restored_and_taken_over(tmp_path: Path) -> None:
    """Made of a schema from before, as the doctor asks for, with this release."""
    then, now = (Settings(data_dir=tmp_path / name) for name in ("then", "now"))
    then.data_dir.mkdir()
    await left_by_then(str(then.database_file))
    order = BackupOrder(then, tmp_path / "backup.tar")
    made = await asyncio.to_thread(make_backup, order, ManualClock(), lambda what, size: None)
    assert (made.schema_revision, made.sessions, made.master_keys) == ("0012", 2, ("mk_1",))
    await asyncio.to_thread(restore_backup, RestoreOrder(tmp_path / "backup.tar", now), lambda what, size: None)
    restored = await open_store(now.database_file, clock=ManualClock(T0))
    try:
        # Nobody waits for the leases of then, which were not over.
        assert (await claimed(restored, owner="new")).epoch == 2
        assert len((await restored.log.load(IDLE)).events) == 4
    finally:
        await restored.close()
