"""PostgreSQL's own programs at work for a backup: ``pg_dump`` writes its archive format, ``pg_restore`` reads it.

They get the password by their environment, never by their command line, which others on the machine can read.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from agents.backup.database_copy import (
    CONTENTS,
    FILE_TABLE,
    MASTER_KEYS,
    NOBODYS,
    REVISION,
    SESSIONS,
    SKILL_TABLE,
    SKILLS,
    DatabaseFacts,
    files_version,
)
from agents.errors import InvalidRequest, Unavailable
from agents.store.faults import name_of

_CONNECT_SECONDS = 15.0
_MOST_SECONDS = 6 * 3600.0
"""Longest that one of the programs may take."""
_SAID = 2000
_RESTORE = ("pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
_TABLES = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
)


async def dump(url: str, copy: Path) -> DatabaseFacts:
    """Write a dump of the database at *url* and return what it holds. Raises Unavailable, InvalidRequest."""
    try:
        async with _connected(url) as connection:
            snapshot = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
            command = ["pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
            await _run([*command, f"--file={copy}"], url)
            return DatabaseFacts(
                revision=(await connection.execute(text(REVISION))).scalar_one(),
                files={row[0]: files_version(row[1]) for row in await connection.execute(text(SESSIONS))},
                master_keys=tuple(row[0] for row in await connection.execute(text(MASTER_KEYS))),
                skills=tuple(row[0] for row in await _rows(connection, SKILL_TABLE, SKILLS)),
                contents={row[0]: row[1] for row in await _rows(connection, FILE_TABLE, CONTENTS)},
            )
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(f"database_url: {_reason(error)}") from None


async def _rows(connection: AsyncConnection, table: str, statement: str) -> list[tuple[str, ...]]:
    """Return what is asked of a table, nothing when that is not there."""
    if (await connection.execute(text("SELECT to_regclass(:name)"), {"name": table})).scalar_one() is None:
        return []
    return [tuple(row) for row in await connection.execute(text(statement))]


async def session_ids(url: str) -> list[str]:
    """Return the sessions there are now. Raises Unavailable, InvalidRequest."""
    try:
        async with _connected(url) as connection:
            return [row[0] for row in await connection.execute(text("SELECT id FROM sessions ORDER BY id"))]
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(f"database_url: {_reason(error)}") from None


async def load(url: str, copy: Path) -> None:
    """Bring a dump into the empty database at *url*: all of it or nothing. Raises as ``dump``."""
    await check_empty(url)
    await _run([*_RESTORE, f"--dbname={libpq_variables(url).get('PGDATABASE', 'postgres')}", str(copy)], url)
    try:
        async with _connected(url) as connection:
            for statement in NOBODYS:
                await connection.execute(text(statement))
            await connection.commit()
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(f"database_url: {_reason(error)}") from None


async def check_empty(url: str) -> None:
    """Raise InvalidRequest when the database has anything in it, Unavailable when it does not answer."""
    try:
        async with _connected(url) as connection:
            there = (await connection.execute(text(_TABLES))).scalar_one()
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(f"database_url: {_reason(error)}") from None
    if there:
        raise InvalidRequest(
            f"database_url: the database is not empty ({there} tables and the like); name an empty one"
        )


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[AsyncConnection]:
    """A transaction of its own, which ends with the block."""
    arguments: dict[str, Any] = {"timeout": _CONNECT_SECONDS, "server_settings": {"application_name": "hecaton backup"}}
    engine = create_async_engine(url, connect_args=arguments, isolation_level="REPEATABLE READ")
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _run(command: list[str], url: str) -> None:
    command = [_program(command[0]), *command[1:]]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **libpq_variables(url), "PGCONNECT_TIMEOUT": str(int(_CONNECT_SECONDS))},
    )
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        reason = said.decode(errors="replace").strip()[-_SAID:]
        raise Unavailable(f"{Path(command[0]).name} failed: {reason or f'status {process.returncode}'}")


def _program(name: str) -> str:
    path = shutil.which(name) or _beside_server(name)
    if path is None:
        raise InvalidRequest(
            f"{name} is not installed on this machine: apt-get install postgresql-client"
            " (of the server's version, or newer)"
        )
    return path


def _beside_server(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(found[-1]) if found else None


def libpq_variables(url: str) -> dict[str, str]:
    """Say where the database is in the words of PostgreSQL's programs. Raises InvalidRequest."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidRequest("database_url: not a URL") from None
    hosts = parsed.query.get("host", ())
    pairs = [each.rpartition(":") for each in ((hosts,) if isinstance(hosts, str) else hosts)]
    named = [(host, port) if host and port.isdigit() else (host + colon + port, "") for host, colon, port in pairs]
    if parsed.host:
        named = [(parsed.host, str(parsed.port or ""))]
    given = {
        "PGHOST": ",".join(host for host, _ in named),
        "PGPORT": ",".join(port or "5432" for _, port in named),
        "PGUSER": parsed.username,
        "PGPASSWORD": parsed.password if isinstance(parsed.password, str) else None,
        "PGDATABASE": parsed.database,
        "PGTARGETSESSIONATTRS": "read-write" if len(named) > 1 else None,
        "PGSSLMODE": str(parsed.query.get("ssl") or parsed.query.get("sslmode") or ""),
    }
    return {name: value for name, value in given.items() if value}


def _reason(error: BaseException) -> str:
    """Say what went wrong without the URL, which has the password."""
    return f"the database refuses or does not answer ({name_of(error)})"
