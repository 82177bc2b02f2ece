"""What an operator expects of an upgrade: sessions that were at work on an older schema go on after the start."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agents.store.migrate import migrate
from agents.store.sqlite import SqliteDatabase
from tests.asks.stage import RestartableServer, restartable_with
from tests.conformance.platform import KEY
from tests.conformance.scene import Scene
from tests.operations.sessions_at_work import SessionsAtWork

THEN = "0012"


async def left_by(revision: str, database: Path) -> None:
    """Make a database what the release with an earlier schema would have written: its tables and columns, its rows."""
    now = database.rename(database.with_suffix(".now"))
    older = SqliteDatabase(database)
    await migrate(older, revision)
    await older.close()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("ATTACH ? AS now", (str(now),))
        tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in sorted(set(tables) - {("alembic_version",), ("schema_info",)}):
            columns = ", ".join(f'"{row[1]}"' for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}")


async def test_sessions_at_work_go_on_after_an_upgrade(server: RestartableServer, scene: Scene, data_dir: Path) -> None:
    sessions = SessionsAtWork(scene)
    await sessions.begin()
    await server.end()
    await left_by(THEN, data_dir / "hecaton.db")

    await sessions.prepare()
    with restartable_with(data_dir, server.stub, server.port):
        await sessions.go_on(scene, elsewhere=False)
        # The key of the settings is still whose they are, and what is done from now on is in the trail.
        listed = await scene.http.get("/v1/sessions", headers={"authorization": f"Bearer {KEY}"})
        assert {session["id"] for session in listed.json()["data"]} == set(sessions.ids)
        deleted = await scene.http.delete(f"/v1/sessions/{sessions.ids[0]}")
        assert deleted.status_code == 200
        [entry] = (await scene.http.get("/-/audit/entries?action=deleteSession")).json()["data"]
        assert entry["object"] == sessions.ids[0]
