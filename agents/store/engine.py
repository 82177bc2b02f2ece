"""Running work in a transaction, on SQLite or on PostgreSQL.

Work is a plain function of an open connection; both databases run the same functions. SQLite runs
them in threads of its own: one writes, a few read (a transaction there is a few hundred microseconds
of C code, cheaper than an awaited driver call per statement). PostgreSQL runs them on asyncpg.

No driver error crosses this border: a database that does not answer within the deadline is
``Unavailable``, a violated constraint ``Conflict``. After ``Unavailable`` from a write whose commit
was under way the outcome is unknown; the log's expected positions make asking again safe.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine

from agents.errors import Conflict, Unavailable

Result = TypeVar("Result")
Work = Callable[[Connection], Result]

DEADLINE_SECONDS = 15.0
"""Longest wait for one transaction, waiting for a connection and for locks of other processes included."""
_CONNECT_SHARE = 1 / 3
_LOCK_SHARE = 2 / 3
"""Shares of the deadline after which the database itself gives up, so that it says why."""
_READER_THREADS = 4
_POOL_SIZE = 8
_CHECKPOINT_PAGES = 4000
"""SQLite copies its log back after so many pages (16 MB): fewer pauses than its default of 1000."""


class Database(Protocol):
    """A database that runs work in transactions."""

    async def read(self, work: Work[Result]) -> Result:
        """Run *work* on one consistent state. Raises Unavailable and what *work* raises."""
        ...

    async def write(self, work: Work[Result], *, deadline: float | None = None) -> Result:
        """Run *work* and commit; when it raises, nothing is written. Raises Conflict, Unavailable and as *work*."""
        ...

    async def close(self) -> None: ...


class SqliteDatabase:
    """A file in WAL mode; every commit is on disk before it is acknowledged."""

    def __init__(self, path: Path, *, deadline: float = DEADLINE_SECONDS) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._deadline = deadline
        self._writer = _sqlite_engine(path, "BEGIN IMMEDIATE", pool_size=1, lock_wait=deadline * _LOCK_SHARE)
        self._reader = _sqlite_engine(path, "BEGIN", pool_size=_READER_THREADS, lock_wait=deadline * _LOCK_SHARE)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._read_threads = ThreadPoolExecutor(_READER_THREADS, thread_name_prefix="store-read")

    async def read(self, work: Work[Result]) -> Result:
        return await self._run(self._read_threads, self._reader, work, self._deadline)

    async def write(self, work: Work[Result], *, deadline: float | None = None) -> Result:
        return await self._run(self._write_thread, self._writer, work, deadline or self._deadline)

    async def _run(self, threads: ThreadPoolExecutor, engine: Engine, work: Work[Result], deadline: float) -> Result:
        async with _border(deadline):
            return await asyncio.get_running_loop().run_in_executor(threads, _in_transaction, engine, work)

    async def close(self) -> None:
        for threads, engine in ((self._read_threads, self._reader), (self._write_thread, self._writer)):
            async with _border(self._deadline):
                await asyncio.get_running_loop().run_in_executor(threads, engine.dispose)
            threads.shutdown(wait=False)


def _in_transaction(engine: Engine, work: Work[Result]) -> Result:
    with engine.begin() as connection:
        return work(connection)


def _sqlite_engine(path: Path, begin: str, *, pool_size: int, lock_wait: float) -> Engine:
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=lock_wait,
        connect_args={"timeout": lock_wait, "check_same_thread": False},
    )

    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own transactions start too late (at the first write): ours start where they are asked to.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    def start(connection: Connection) -> None:
        # Past SQLAlchemy: this runs at every transaction, and its machinery costs many times the statement.
        driver: Any = connection.connection.driver_connection
        driver.execute(begin).close()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


class PostgresDatabase:
    """A PostgreSQL server reached through asyncpg."""

    def __init__(self, url: str, *, deadline: float = DEADLINE_SECONDS) -> None:
        self._deadline = deadline
        self._engine = create_async_engine(
            url,
            pool_size=_POOL_SIZE,
            max_overflow=0,
            pool_timeout=deadline * _CONNECT_SHARE,
            pool_pre_ping=True,
            connect_args={
                "timeout": deadline * _CONNECT_SHARE,
                "server_settings": {
                    "application_name": "hecaton",
                    "lock_timeout": _milliseconds(deadline * _LOCK_SHARE),
                    # A frozen process must not keep the others from its rows.
                    "idle_in_transaction_session_timeout": _milliseconds(deadline * 2),
                },
            },
        )
        self._snapshot = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def read(self, work: Work[Result]) -> Result:
        async with _border(self._deadline), self._snapshot.begin() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Work[Result], *, deadline: float | None = None) -> Result:
        async with _border(deadline or self._deadline), self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        async with _border(self._deadline):
            await self._engine.dispose()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"


@asynccontextmanager
async def _border(deadline: float) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(deadline):
            yield
    except IntegrityError as error:
        raise Conflict("the change contradicts what is stored") from error
    except (DBAPIError, sqlite3.Error, PoolTimeout, OSError, TimeoutError) as error:
        raise Unavailable(f"the database does not answer ({type(error).__name__})") from error
