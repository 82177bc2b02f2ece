"""The bare database doing what the log does: the same rows into the same tables, as many per transaction.

Plain driver code and nothing else: no check of lease or position, no encoding (rows come ready made), one
connection, prepared statements, the database's own durable commit. It is the floor that the log is held to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol

import asyncpg
from sqlalchemy.engine import make_url

from agents.store.batch import Change

_PROGRESS = ("status", "seq", "queued", "updated_at", "archived_at", "state", "stamp")
_EVENT = ("session_id", "seq", "id", "type", "processed_at", "body", "hidden")
Values = list[tuple[Any, ...]]


class RawLog(Protocol):
    """Writes groups of appends, one durable transaction each."""

    async def commit(self, changes: Sequence[Change]) -> None: ...

    async def close(self) -> None: ...


class RawSqlite:
    """The ``sqlite3`` module, with the settings of the store."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            self._connection.execute(f"PRAGMA {setting}").close()
        self._update = f"UPDATE sessions SET {', '.join(f'{name}=?' for name in _PROGRESS)} WHERE id=?"
        self._insert = f"INSERT INTO events ({', '.join(_EVENT)}) VALUES ({', '.join('?' for _ in _EVENT)})"

    async def commit(self, changes: Sequence[Change]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(self._update, _progress(changes))
        self._connection.executemany(self._insert, _events(changes))
        self._connection.execute("COMMIT")

    async def close(self) -> None:
        self._connection.close()


class RawPostgres:
    """asyncpg, as its documentation shows it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        sets = ", ".join(f"{name}=${n}" for n, name in enumerate(_PROGRESS, 1))
        self._update = f"UPDATE sessions SET {sets} WHERE id=${len(_PROGRESS) + 1}"
        places = ", ".join(f"${n}" for n, _ in enumerate(_EVENT, 1))
        self._insert = f"INSERT INTO events ({', '.join(_EVENT)}) VALUES ({places})"

    @classmethod
    async def open(cls, url: str) -> RawPostgres:
        parts = make_url(url)
        host = str(parts.query["host"]) if "host" in parts.query else parts.host
        place = {"host": host, "port": parts.port, "database": parts.database}
        return cls(await asyncpg.connect(**place, user=parts.username, password=parts.password))

    async def commit(self, changes: Sequence[Change]) -> None:
        async with self._connection.transaction():
            await self._connection.executemany(self._update, _progress(changes))
            await self._connection.executemany(self._insert, _events(changes))

    async def close(self) -> None:
        await self._connection.close()


async def open_raw(where: str) -> RawLog:
    """Open a database that the store has migrated."""
    return await RawPostgres.open(where) if "://" in where else RawSqlite(where)


def _progress(changes: Sequence[Change]) -> Values:
    return [(*(change.session[name] for name in _PROGRESS), change.session_id) for change in changes]


def _events(changes: Sequence[Change]) -> Values:
    return [tuple(row[name] for name in _EVENT) for change in changes for row in change.events]
