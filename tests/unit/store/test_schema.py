"""Opening a database whose schema is this release's costs one query, and loads nothing for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from agents.store import migrations
from agents.store.database import open_store
from agents.store.schema import HEAD, is_current
from agents.store.sqlite import SqliteDatabase

_OPEN = """
import asyncio, sys
from agents.store.database import open_store
async def main():
    store = await open_store(sys.argv[1])
    await store.ping()
    await store.close()
asyncio.run(main())
print("alembic" in sys.modules)
"""


def test_the_newest_revision_is_known_by_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(migrations.__path__)))))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_a_new_database_is_not_current_and_an_opened_one_is(tmp_path: Path) -> None:
    path = tmp_path / "hecaton.db"
    database = SqliteDatabase(path)
    assert not await is_current(database)
    await (await open_store(path)).close()
    assert await is_current(database)
    await database.close()


async def test_a_process_that_starts_on_a_current_database_does_not_load_the_migrations(tmp_path: Path) -> None:
    path = tmp_path / "hecaton.db"
    await (await open_store(path)).close()
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _OPEN, str(path)], capture_output=True, text=True, timeout=60
    )
    assert run.stdout.strip() == "False", run.stderr
