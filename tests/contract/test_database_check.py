"""What the doctor says of a PostgreSQL that answers (ours); more faults: tests/unit/commands/test_common_faults.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

from postgres_server import PostgresServer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from agents.commands.database_check import check_database
from agents.commands.findings import Check
from agents.config import Settings
from agents.store.schema import HEAD


def found(url: str, data_dir: Path) -> list[Check]:
    return check_database(Settings.model_validate({"data_dir": data_dir, "database_url": url}))


def tell(url: str, statement: str) -> None:
    async def work() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(work())


def test_a_server_that_may_forget_is_a_problem(postgres_database: str, tmp_path: Path) -> None:
    """The server of these tests runs without fsync."""
    database, clock, secrets = found(postgres_database, tmp_path)
    assert (database.state, clock.state, secrets.state) == ("problem", "ok", "ok")
    assert "fsync" in database.found and "synchronous_commit" not in database.found and database.remedy


def test_schemas_are_told_apart(postgres_database: str, empty_postgres_database: str, tmp_path: Path) -> None:
    assert HEAD in found(postgres_database, tmp_path)[0].found
    assert "empty" in found(empty_postgres_database, tmp_path)[0].found
    tell(postgres_database, "UPDATE alembic_version SET version_num = '0003'")
    assert "schema 0003" in found(postgres_database, tmp_path)[0].found


def test_a_database_that_is_not_there_is_named_by_the_servers_own_word(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    [database] = found(postgres.url("no_such_database"), tmp_path)
    assert database.state == "problem" and "InvalidCatalogName" in database.found


def test_secrets_of_a_lost_key_are_found(postgres_database: str, tmp_path: Path) -> None:
    tell(
        postgres_database,
        "INSERT INTO vault_credentials (id, vault_id, key, body, master_key, created_at, updated_at)"
        " VALUES ('vcrd_1', 'vlt_1', 'k', '{}', 'mk_lost', 0, 0)",
    )
    assert "mk_lost" in found(postgres_database, tmp_path)[-1].found
