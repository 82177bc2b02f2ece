"""Bringing a database to this release's schema at start-up.

Several processes may start at once: each waits for the database's own lock (SQLite: the write lock;
PostgreSQL: an advisory lock) and then finds the work done. All of it is one transaction.

Releases overlap: while one is rolled out, processes of the release before go on working on the new
schema, and may start again on it. So migrations only expand (``migrations/versions``), and the schema
says itself which releases it still serves (table ``schema_info``).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select, text

from agents.errors import InvalidRequest, Unavailable
from agents.store.engine import Database
from agents.store.tables import schema_info

logger = logging.getLogger(__name__)

SCRIPTS = Path(__file__).parent / "migrations"
_DEADLINE_SECONDS = 120.0
_ADVISORY_KEY = 0x4865_6361_746F_6E00  # "Hecaton", so that no other application's lock is meant
_LOOK_SECONDS = 0.01
_LOCK_THE_LOG = "LOCK TABLE environments, sessions, session_snapshots, events, queue IN ACCESS EXCLUSIVE MODE"
"""In the order in which commits and loads come upon them."""
# Alembic keeps its running environment in module globals, whatever thread or event loop runs it.
_one_at_a_time = threading.Lock()


async def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade the schema to *revision*; one that is newer and still serves this release is left as it is.

    Raises Unavailable, or InvalidRequest for a database that this release must not touch.
    """

    def upgrade(connection: Connection) -> None:
        on_server = connection.dialect.name == "postgresql"
        if on_server:
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        config.attributes["connection"] = connection
        found, scripts = _revision(connection), ScriptDirectory.from_config(config)
        if found == scripts.get_current_head() or _is_newer(connection, found, scripts):
            return
        if on_server and found is not None:
            # While nothing else is held: whoever has one of them, and wants another, gets it and ends. Migrations take
            # them in any order, and keep each to their end.
            connection.execute(text(_LOCK_THE_LOG))
        command.upgrade(config, revision)

    async with _alone():
        await database.migrate(upgrade)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_newer(connection: Connection, found: str | None, scripts: ScriptDirectory) -> bool:
    """Whether a later release has migrated the database. Raises InvalidRequest when that left this one behind."""
    own = scripts.get_current_head()
    known = {script.revision for script in scripts.walk_revisions()}
    if found is None or found in known:
        return False
    since = None
    if inspect(connection).has_table(schema_info.name):
        since = connection.execute(select(schema_info.c.compatible_since)).scalar()
    if since is None or own is None or since > own:
        reason = "does not say which it serves" if since is None else f"serves releases from schema {since} on"
        raise InvalidRequest(
            f"the database was made by another release: its schema {found} {reason}, this release has schema {own}"
        )
    logger.warning("the database has the newer schema %s, which still serves this release (schema %s)", found, own)
    return True


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
