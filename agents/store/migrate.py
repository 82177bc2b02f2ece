"""Bringing a database to this release's schema at start-up.

Several processes may start at once: each waits for the database's own lock (SQLite: the write lock;
PostgreSQL: an advisory lock) and then finds the work done. All of it is one transaction.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from agents.errors import InvalidRequest, Unavailable
from agents.store.engine import Database

_SCRIPTS = Path(__file__).parent / "migrations"
_DEADLINE_SECONDS = 120.0
_ADVISORY_KEY = 0x4865_6361_746F_6E00  # "Hecaton", so that no other application's lock is meant
_LOOK_SECONDS = 0.01
# Alembic keeps its running environment in module globals, whatever thread or event loop runs it.
_one_at_a_time = threading.Lock()


async def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade the schema to *revision*. Raises Unavailable, or InvalidRequest for a newer release's database."""

    def upgrade(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
        config = Config()
        config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise InvalidRequest(f"the database was made by another release: {error}") from error

    async with _alone():
        await database.migrate(upgrade)


@asynccontextmanager
async def _alone() -> AsyncGenerator[None]:
    # Looked at again and again: waiting for the lock itself would stop an event loop whose own task holds it.
    for _ in range(round(_DEADLINE_SECONDS / _LOOK_SECONDS)):
        if _one_at_a_time.acquire(blocking=False):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    else:
        raise Unavailable("another migration of this process does not end")
    try:
        yield
    finally:
        _one_at_a_time.release()
