"""A backup of either database, made while it is written to, comes back as it was at one moment (ours)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres_server import PostgresServer
from store_records import Reopen, agent, claimed, full_session, logged, session, step, waiting

from agents.backup.making import BackupOrder, make_backup
from agents.backup.manifest import BadBackup, Manifest
from agents.backup.postgres_copy import libpq_variables
from agents.backup.restoring import RestoreOrder, restore_backup
from agents.clock import ManualClock
from agents.config import Settings
from agents.errors import InvalidRequest, Unavailable
from agents.ids import SessionId
from agents.sessions.log import LeaseTable
from agents.store.database import open_store

_YEARS = 1e9


def backed_up(settings: Settings, place: Path) -> Manifest:
    return make_backup(BackupOrder(settings, place), ManualClock(), lambda what, size: None)


def restored(place: Path, settings: Settings) -> Manifest:
    return restore_backup(RestoreOrder(place, settings), lambda what, size: None)


def settings_for(location: str, data_dir: Path) -> Settings:
    """Settings of a platform whose database is at *location*."""
    if "://" in location:
        data_dir.mkdir(exist_ok=True)
        return Settings.model_validate({"data_dir": data_dir, "database_url": location})
    return Settings(data_dir=Path(location).parent)


@pytest.fixture
def target(location: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Where the backup shall come back: a new data directory, and an empty database."""
    given: dict[str, Any] = {"data_dir": tmp_path / "restored"}
    if "://" in location:
        given["database_url"] = request.getfixturevalue("empty_postgres_database")
    return Settings.model_validate(given)


async def test_what_was_committed_comes_back_and_what_came_later_does_not(
    location: str, target: Settings, reopen: Reopen, tmp_path: Path
) -> None:
    store = await reopen()
    lease = await claimed(store, ttl=_YEARS)
    await store.agents.insert(agent())
    create = step(lease, full_session(), logged(), queue=[waiting()], queued=1)
    await store.log.create(create)
    before = await store.log.load(SessionId(create.record.id))

    settings = settings_for(location, tmp_path / "data")
    manifest = await asyncio.to_thread(backed_up, settings, tmp_path / "backup.tar.gz")
    await store.log.append(step(lease, create.record, logged()))
    later = step(lease, session(), logged())
    await store.log.create(later)
    assert (manifest.sessions, manifest.database) == (1, "postgresql" if "://" in location else "sqlite")

    await asyncio.to_thread(restored, tmp_path / "backup.tar.gz", target)
    url = target.database_url
    again = await open_store(url.get_secret_value() if url else target.data_dir / "hecaton.db")
    try:
        assert await again.log.load(SessionId(create.record.id)) == before
        assert await again.agents.get(agent().id) == agent()
        # Who owned it owns nothing of the copy: a process of the new platform waits for nobody, and writes.
        assert await again.leases.table() == LeaseTable({}, ())
        assert (await claimed(again, owner="new")).epoch >= lease.epoch
    finally:
        await again.close()


@pytest.fixture
def postgres_settings(postgres_database: str, tmp_path: Path) -> Iterator[Settings]:
    yield settings_for(postgres_database, tmp_path / "data")


def test_a_database_with_anything_in_it_is_refused(postgres_settings: Settings, tmp_path: Path) -> None:
    backed_up(postgres_settings, tmp_path / "backup")
    with pytest.raises(InvalidRequest, match="database_url: the database is not empty"):
        restored(tmp_path / "backup", postgres_settings.model_copy(update={"data_dir": tmp_path / "new"}))
    assert not (tmp_path / "new").exists()


def test_a_dump_that_is_damaged_restores_nothing(
    postgres_settings: Settings, empty_postgres_database: str, tmp_path: Path
) -> None:
    backed_up(postgres_settings, tmp_path / "backup")
    dump = tmp_path / "backup" / "database.dump"
    dump.write_bytes(dump.read_bytes()[:-100])
    target = settings_for(empty_postgres_database, tmp_path / "new")
    with pytest.raises(BadBackup, match=r"database\.dump: damaged"):
        restored(tmp_path / "backup", target)
    backed_up(postgres_settings, tmp_path / "whole")
    restored(tmp_path / "whole", target)


def test_a_database_that_is_not_there_is_told_without_its_password(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.url("no_such_database").replace("postgres@", "postgres:s3cret@")
    with pytest.raises(Unavailable, match="InvalidCatalogName") as caught:
        backed_up(settings_for(url, tmp_path / "data"), tmp_path / "backup")
    assert "s3cret" not in caught.value.message
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("u:p%40@h:1/d", {"PGHOST": "h", "PGPORT": "1", "PGUSER": "u", "PGPASSWORD": "p@", "PGDATABASE": "d"}),
        ("u@/d?host=/run/pg", {"PGHOST": "/run/pg", "PGPORT": "5432", "PGUSER": "u", "PGDATABASE": "d"}),
        (
            "u@/d?host=a:1&host=b:2",
            {"PGHOST": "a,b", "PGPORT": "1,2", "PGUSER": "u", "PGDATABASE": "d", "PGTARGETSESSIONATTRS": "read-write"},
        ),
        ("h/d?ssl=require", {"PGHOST": "h", "PGPORT": "5432", "PGDATABASE": "d", "PGSSLMODE": "require"}),
    ],
)
def test_postgresqls_programs_are_told_where_the_database_is(url: str, expected: dict[str, str]) -> None:
    assert libpq_variables(f"postgresql+asyncpg://{url}") == expected


def test_a_missing_pg_dump_is_told_with_what_to_install(
    postgres_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.backup.postgres_copy.shutil.which", lambda name: None)
    monkeypatch.setattr("agents.backup.postgres_copy._beside_server", lambda name: None)
    with pytest.raises(InvalidRequest, match="apt-get install postgresql-client"):
        backed_up(postgres_settings, tmp_path / "backup")
