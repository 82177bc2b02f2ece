"""A copy of the database as it was at one moment, while others go on writing, and what a backup must know of it.

SQLite copies itself by its own backup interface (one read transaction; writers are not held up). PostgreSQL's is
made by ``pg_dump`` on a snapshot that the questions here are asked on too, so that the answers are of the copy.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from agents.backup.manifest import BadBackup
from agents.errors import Unavailable

SESSIONS = "SELECT id, state FROM sessions ORDER BY id"
MASTER_KEYS = "SELECT DISTINCT master_key FROM vault_credentials WHERE master_key IS NOT NULL ORDER BY master_key"
SKILLS = "SELECT DISTINCT skill_id FROM skill_versions ORDER BY skill_id"
SKILL_TABLE = "skill_versions"
CONTENTS = "SELECT sha256, min(id) FROM files WHERE sha256 <> '' GROUP BY sha256 ORDER BY sha256"
FILE_TABLE = "files"
"""Not there, like that of skills, in databases of earlier releases."""
REVISION = "SELECT version_num FROM alembic_version"
NOBODYS = (
    "UPDATE leases SET owner = NULL, expires_at = 0",
    "UPDATE members SET expires_at = 0 WHERE expires_at > 0",
)
"""Owners of what was copied own nothing of the copy: whoever takes it up would wait until their leases end."""
_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What a copy of the database holds."""

    revision: str
    files: dict[str, int]
    """Every session, with the version of the files that its log stands on; 0 when it never had any."""
    master_keys: tuple[str, ...]
    skills: tuple[str, ...] = ()
    contents: dict[str, str] = field(default_factory=lambda: {})
    """The SHA-256 of each content that files have, and one of those files."""


def files_version(state: str) -> int:
    """Return the version of a session's files from its row's ``state``."""
    workspace = orjson.loads(state).get("workspace") or (None, 0)
    return int(workspace[1])


def session_ids(database: Path) -> list[str]:
    """Return the sessions there are now. Raises Unavailable."""
    try:
        with closing(_opened(database, "ro")) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM sessions ORDER BY id")]
    except sqlite3.Error as error:
        raise Unavailable(f"{database}: {error}") from error


def copy_sqlite(database: Path, copy: Path) -> None:
    """Write a copy of a database that may be in use, as one file. Raises Unavailable."""
    try:
        with closing(_opened(database, "ro")) as source, closing(sqlite3.connect(copy)) as target:
            # All at once: a copy in steps begins anew whenever somebody writes in between.
            source.backup(target, pages=-1)
            # No companion files: what is backed up is one file.
            target.execute("PRAGMA journal_mode=DELETE").close()
    except sqlite3.Error as error:
        raise Unavailable(f"{database} cannot be copied: {error}") from error
    copy.chmod(0o600)


def facts_of_sqlite(copy: Path) -> DatabaseFacts:
    """Look through a copy; raises BadBackup when SQLite finds a fault in it."""
    try:
        with closing(_opened(copy, "ro")) as connection:
            # Not integrity_check, half of what a backup costs: an index that differs from its table loses nothing.
            [(verdict,), *_] = connection.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise BadBackup(f"the database is damaged: {verdict}")
            return DatabaseFacts(
                revision=connection.execute(REVISION).fetchone()[0],
                files={row[0]: files_version(row[1]) for row in connection.execute(SESSIONS)},
                master_keys=tuple(row[0] for row in connection.execute(MASTER_KEYS)),
                skills=tuple(row[0] for row in _rows(connection, SKILL_TABLE, SKILLS)),
                contents={row[0]: row[1] for row in _rows(connection, FILE_TABLE, CONTENTS)},
            )
    except (sqlite3.Error, TypeError) as error:
        raise BadBackup(f"{copy.name} is no database of a platform: {error}") from error


def free_leases(copy: Path) -> None:
    """Let whoever starts on a copy take up its sessions at once. Raises BadBackup."""
    try:
        with closing(_opened(copy, "rw")) as connection, connection:
            for statement in NOBODYS:
                connection.execute(statement).close()
    except sqlite3.Error as error:
        raise BadBackup(f"{copy.name} is no database of a platform: {error}") from error


def _rows(connection: sqlite3.Connection, table: str, statement: str) -> list[tuple[str, ...]]:
    """Return what is asked of a table, nothing when that is not there."""
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return connection.execute(statement).fetchall() if there else []


def _opened(database: Path, mode: str) -> sqlite3.Connection:
    # As a URI: a plain path would make a database that is not there.
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode={mode}", uri=True, timeout=_WAIT_SECONDS)
