"""What ``hecaton doctor`` says of the database: that it answers, its schema, its locks, its clock, its secrets."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from agents.commands.findings import Check
from agents.config import Settings
from agents.errors import HecatonError
from agents.store.faults import driver_errors, name_of
from agents.store.schema import HEAD
from agents.vaults.master_keys import key_file
from agents.vaults.settings import parsed_keys

_SECONDS = 5.0
_LOCK_SECONDS = 2.0
_SKEW_NOTED = 0.5
_REVISION = "SELECT version_num FROM alembic_version"
_SINCE = "SELECT compatible_since FROM schema_info"
_KEYS = "SELECT DISTINCT master_key FROM vault_credentials WHERE master_key IS NOT NULL AND archived_at IS NULL"
_FAILING = "SELECT count(*) FROM vault_credentials WHERE failure IS NOT NULL AND archived_at IS NULL"
_API_KEYS = "SELECT count(*) FROM api_keys"
_API_KEYS_SINCE = "0013"
"""The first schema that has them."""
_NAME = "database"


@dataclass(frozen=True, slots=True)
class _Facts:
    where: str
    revision: str
    since: str
    """The oldest schema whose releases it serves; only told of a newer one than ours."""
    master_keys: frozenset[str]
    failing: int
    """Credentials that could not be renewed."""
    api_keys: int
    """Keys of the API that the store has ever had."""
    skew: float | None = None
    """Seconds that the database's clock is ahead; None where it has none of its own."""
    unsafe: tuple[str, ...] = ()
    """Settings of the server with which it forgets what it acknowledged."""


def check_database(settings: Settings) -> list[Check]:
    """Return what is found of the database, of its clock, and of the secrets in it."""
    try:
        facts = _facts(settings)
    except _Fault as fault:
        return [Check(_NAME, "problem", fault.found, fault.remedy)]
    if facts is None:
        return [Check(_NAME, "ok", f"{settings.database_file} is made at the first start")]
    return [_schema(facts, settings), *_clock(facts, settings), *_secrets(facts, settings)]


def has_had_keys(settings: Settings) -> bool | None:
    """Whether the store has ever had an API key, so that nobody gets in without one; None when it does not tell."""
    try:
        facts = _facts(settings)
    except _Fault:
        return None
    return facts is not None and facts.api_keys > 0


def _facts(settings: Settings) -> _Facts | None:
    """Ask the database; None when there is none yet. Raises _Fault."""
    if settings.database_url is not None:
        return asyncio.run(_ask_postgres(settings.database_url.get_secret_value()))
    file = settings.database_file
    return _ask_sqlite(file) if file.exists() else None


class _Fault(Exception):
    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found, self.remedy = found, remedy


def _schema(facts: _Facts, settings: Settings) -> Check:
    found = f"{facts.where}, schema {facts.revision}"
    if facts.unsafe:
        remedy = "turn them on again (ALTER SYSTEM RESET ...), and restart PostgreSQL"
        return Check(
            _NAME, "problem", f"{found}: it may forget what it acknowledged ({', '.join(facts.unsafe)})", remedy
        )
    if facts.revision > HEAD:
        if facts.since <= HEAD:
            return Check(_NAME, "note", f"{found} of a newer release, which still serves this one (schema {HEAD})")
        remedy = "start the newer release, or restore a backup that was made before the upgrade (docs/upgrade.md)"
        return Check(
            _NAME, "problem", f"{found} of a newer release, which leaves this one (schema {HEAD}) behind", remedy
        )
    if facts.revision < HEAD:
        return Check(_NAME, "note", f"{found}: the next start brings it to {HEAD}", "back it up first: hecaton backup")
    machine = _other_machine(settings)
    if machine:
        remedy = (
            f"make sure that nothing runs on {machine} with this directory; then it is used here from the next start on"
        )
        return Check(_NAME, "note", f"{found}; last used on the machine {machine}", remedy)
    return Check(_NAME, "ok", found)


def _other_machine(settings: Settings) -> str:
    mark = settings.data_dir / "run" / "machine"
    if settings.database_url is not None or not mark.exists():
        return ""
    found = mark.read_text(encoding="utf-8", errors="replace").strip()
    return "" if found == socket.gethostname() else found


def _clock(facts: _Facts, settings: Settings) -> list[Check]:
    if facts.skew is None:
        return []
    ahead = f"the database's clock is {abs(facts.skew):.1f} s {'ahead of' if facts.skew > 0 else 'behind'} this one's"
    remedy = "let NTP keep the clocks of all machines (chrony, systemd-timesyncd)"
    if abs(facts.skew) >= settings.harness.lease_ttl_seconds / 2:
        return [Check("clock", "problem", f"{ahead}: sessions change hands too early or too late", remedy)]
    if abs(facts.skew) >= _SKEW_NOTED:
        return [Check("clock", "note", ahead, remedy)]
    return [Check("clock", "ok", "agrees with the database's")]


def _secrets(facts: _Facts, settings: Settings) -> list[Check]:
    name = "vault secrets"
    if missing := sorted(facts.master_keys - _held(settings)) if settings.vaults.key_service is None else []:
        remedy = "bring the key back (docs/backup.md), or enter those secrets again"
        return [Check(name, "problem", f"sealed under {', '.join(missing)}, which is not here", remedy)]
    if facts.failing:
        found = f"{facts.failing} credentials have expired and could not be renewed"
        return [Check(name, "note", found, "enter them again; hecaton vaults list shows what they are for")]
    return [Check(name, "ok", "can be opened" if facts.master_keys else "none yet")]


def _held(settings: Settings) -> frozenset[str]:
    file = key_file(settings)
    try:
        given = settings.vaults.master_key
        words = given.get_secret_value() if given else file.path.read_text(encoding="ascii") if file else ""
        return frozenset(parsed_keys(words))
    except (OSError, ValueError):
        return frozenset()  # why it cannot be read is another check's


def _ask_sqlite(file: Path) -> _Facts:
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=_LOCK_SECONDS)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE").close()
            try:
                return _facts_of_sqlite(file, connection)
            finally:
                connection.execute("ROLLBACK").close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            who = ", ".join(_users(file)) or "another process"
            remedy = "end what holds it; one platform at a time may use a data directory (hecaton down)"
            raise _Fault(f"{file} is locked for longer than {_LOCK_SECONDS:g} s; open in: {who}", remedy) from None
        raise _Fault(f"{file}: {error}", "look at the file's owner and mode, or restore a backup") from None
    except (sqlite3.Error, TypeError) as error:
        raise _Fault(f"{file} is damaged or no database: {error}", "restore a backup: hecaton restore") from None


def _facts_of_sqlite(file: Path, connection: sqlite3.Connection) -> _Facts:
    def one(query: str) -> Any:
        return connection.execute(query).fetchone()[0]

    revision = str(one(_REVISION))
    api_keys = int(one(_API_KEYS)) if revision >= _API_KEYS_SINCE else 0
    if revision != HEAD:
        return _Facts(str(file), revision, str(one(_SINCE)) if revision > HEAD else "", frozenset(), 0, api_keys)
    keys = frozenset(row[0] for row in connection.execute(_KEYS))
    return _Facts(str(file), revision, "", keys, int(one(_FAILING)), api_keys)


def _users(file: Path) -> list[str]:
    """Name the processes that have the file open, as far as we may look."""
    found: list[str] = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.path.samefile(descriptor, file):
                found.append(f"process {descriptor.parts[2]}")
        except OSError:
            continue
    return sorted(set(found) - {f"process {os.getpid()}"})


async def _ask_postgres(url: str) -> _Facts:
    try:
        engine = create_async_engine(url, connect_args={"timeout": _SECONDS})
    except (SQLAlchemyError, HecatonError) as error:
        raise _Fault(f"database_url: {type(error).__name__}", "postgresql+asyncpg://user:password@host/name") from None
    try:
        async with asyncio.timeout(2 * _SECONDS), engine.connect() as connection:
            return await _facts_of_postgres(connection)
    except (*driver_errors(), SQLAlchemyError) as error:
        raise _Fault(
            f"PostgreSQL refuses or does not answer ({name_of(error)})",
            "look at database_url, the network, and its log",
        ) from None
    finally:
        await engine.dispose()


async def _facts_of_postgres(connection: AsyncConnection) -> _Facts:
    async def one(query: str) -> Any:
        return (await connection.execute(text(query))).scalar_one()

    before = time.time()
    there = float(await one("SELECT extract(epoch FROM clock_timestamp())"))
    skew = there - (before + time.time()) / 2
    if await one("SELECT pg_is_in_recovery()"):
        raise _Fault(
            "PostgreSQL is a standby, which only reads", "name the primary, or all servers (docs/operations.md)"
        )
    unsafe: tuple[str, ...] = ()
    for name in ("fsync", "synchronous_commit"):
        if await one(f"SHOW {name}") == "off":
            unsafe = (*unsafe, name)
    if not await one("SELECT to_regclass('alembic_version') IS NOT NULL"):
        return _Facts("PostgreSQL, empty", HEAD, "", frozenset(), 0, 0, skew, unsafe)
    revision = str(await one(_REVISION))
    api_keys = int(await one(_API_KEYS)) if revision >= _API_KEYS_SINCE else 0
    if revision != HEAD:
        since = str(await one(_SINCE)) if revision > HEAD else ""
        return _Facts("PostgreSQL", revision, since, frozenset(), 0, api_keys, skew, unsafe)
    keys = frozenset(row[0] for row in await connection.execute(text(_KEYS)))
    return _Facts("PostgreSQL", revision, "", keys, int(await one(_FAILING)), api_keys, skew, unsafe)
