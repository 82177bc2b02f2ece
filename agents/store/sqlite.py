"""SQLite in a file: WAL mode, every commit on disk before it is acknowledged.

Work runs in threads of its own: one writes, a few read (a transaction is a few hundred microseconds of C
code, cheaper than an awaited driver call per statement). SQLite itself waits for the locks of other
processes, so nothing is tried again here; a transaction that a caller no longer waits for still ends, in
its turn.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from agents.store.engine import DEADLINE_SECONDS, Result, Transaction, Work
from agents.store.faults import driver_errors, told
from agents.store.script import Ask, Script, Write

_LOCK_SHARE = 2 / 3
"""Share of the deadline after which SQLite gives up on a lock, so that it says why."""
_MIGRATION_SECONDS = 120.0
_READER_THREADS = 4
_SETTINGS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    # It copies its log back after so many pages (16 MB): fewer pauses than its default of 1000.
    "wal_autocheckpoint=4000",
)


class SqliteDatabase:
    """The Database of one file."""

    def __init__(self, path: Path, *, deadline: float = DEADLINE_SECONDS) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._deadline = deadline
        self._lock_wait = deadline * _LOCK_SHARE
        self._writer = self._engine("BEGIN IMMEDIATE", pool_size=1)
        self._reader = self._engine("BEGIN", pool_size=_READER_THREADS)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._read_threads = ThreadPoolExecutor(_READER_THREADS, thread_name_prefix="store-read")
        self._direct: sqlite3.Connection | None = None

    async def read(self, work: Work[Result], *, deadline: float | None = None) -> Result:
        return await self._run(self._read_threads, partial(_in_transaction, self._reader, work), deadline)

    async def write(self, work: Work[Result], *, deadline: float | None = None, repeatable: bool = False) -> Result:
        del repeatable
        return await self._run(self._write_thread, partial(_in_transaction, self._writer, work), deadline)

    async def transact(self, script: Transaction[Result], *, deadline: float) -> Result:
        return await self._run(self._write_thread, partial(self._play, script), deadline)

    async def migrate(self, work: Work[None]) -> None:
        await self._run(self._write_thread, partial(_in_transaction, self._writer, work), _MIGRATION_SECONDS)

    async def close(self) -> None:
        await self._run(self._read_threads, self._reader.dispose)
        await self._run(self._write_thread, self._close_writers)
        for threads in (self._read_threads, self._write_thread):
            threads.shutdown(wait=False)

    async def _run(
        self, threads: ThreadPoolExecutor, work: Callable[[], Result], deadline: float | None = None
    ) -> Result:
        try:
            return await _in_thread(threads, work, deadline or self._deadline)
        except driver_errors() as error:
            late = isinstance(error, TimeoutError) and threads is self._write_thread
            raise told(error, uncertain=late) from error

    def _play(self, script: Transaction[Result]) -> Result:
        """Run a script on a connection of the writing thread's own."""
        if self._direct is None:
            self._direct = sqlite3.connect(self._path, timeout=self._lock_wait)
            _prepare(self._direct)
        try:
            self._direct.execute("BEGIN IMMEDIATE")
            result = _steps(self._direct, script())
            self._direct.execute("COMMIT")
        except BaseException:
            self._close_direct()  # which rolls back, whatever state the failure left
            raise
        return result

    def _close_direct(self) -> None:
        if self._direct is not None:
            direct, self._direct = self._direct, None
            direct.close()

    def _close_writers(self) -> None:
        self._writer.dispose()
        self._close_direct()

    def _engine(self, begin: str, *, pool_size: int) -> Engine:
        engine = create_engine(
            f"sqlite+pysqlite:///{self._path}",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=self._lock_wait,
            connect_args={"timeout": self._lock_wait, "check_same_thread": False},
        )

        def start(connection: Connection) -> None:
            # Past SQLAlchemy: this runs at every transaction, and its machinery costs many times the statement.
            driver: Any = connection.connection.driver_connection
            driver.execute(begin).close()

        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", start)
        return engine


def _in_thread(threads: ThreadPoolExecutor, work: Callable[[], Result], deadline: float) -> asyncio.Future[Result]:
    """``run_in_executor`` and ``timeout`` in one future: a lone commit spends a good part of its time between threads.

    Fails with TimeoutError when *work* has not ended within *deadline* seconds; if it has begun it goes on.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Result] = loop.create_future()

    def settle(end: Callable[[], None]) -> None:
        if not outcome.done():
            end()

    def run() -> None:
        if outcome.done():
            return
        try:
            end = partial(outcome.set_result, work())
        except BaseException as error:
            end = partial(outcome.set_exception, error)
        with suppress(RuntimeError):  # the loop has closed: nobody waits
            loop.call_soon_threadsafe(settle, end)

    late = loop.call_later(deadline, settle, partial(outcome.set_exception, TimeoutError()))
    outcome.add_done_callback(lambda _: late.cancel())
    threads.submit(run)
    return outcome


def _prepare(connection: Any, _record: object = None) -> None:
    # The driver's own transactions start too late (at the first write): ours start where they are asked to.
    connection.isolation_level = None
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}").close()


def _in_transaction(engine: Engine, work: Work[Result]) -> Result:
    with engine.begin() as connection:
        return work(connection)


def _steps(connection: sqlite3.Connection, script: Script[Result]) -> Result:
    rows: list[Any] = []
    try:
        step = next(script)
        while True:
            if isinstance(step, Ask):
                rows = connection.execute(step.statement.sqlite.text, step.for_sqlite()).fetchall()
            else:
                _write(connection, step)
                rows = []
            step = script.send(rows)
    except StopIteration as end:
        return end.value


def _write(connection: sqlite3.Connection, step: Write) -> None:
    rows = step.for_sqlite()
    written = 0
    for number, text in step.statement.grouped_sqlite:
        while len(rows) - written >= number:
            connection.execute(text, list(chain.from_iterable(rows[written : written + number])))
            written += number
    if written < len(rows):
        connection.executemany(step.statement.sqlite.text, rows[written:])
