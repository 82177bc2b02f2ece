"""SQLite in a file: WAL mode, every commit on disk before it is acknowledged.

Work runs in threads of its own: one writes, a few read (a transaction is a few hundred microseconds of C
code, cheaper than an awaited driver call per statement). SQLite itself waits for the locks of other
processes, so nothing is tried again here; a transaction that a caller no longer waits for still ends, in
its turn.

On a fast disk a small commit takes about as long as the way to the writing thread and back (0.1 ms). Then the event
loop's thread does it by itself, on a connection of its own that waits for nobody's lock and leaves the copying back
of SQLite's log to the writing thread. A disk that gets slow holds the loop up once, or a few times, by as much as one
commit takes.

Large groups are the writing thread's. It needs Python's lock between any two statements, and a loop that is busy, as
with the next group's changes, leaves it none: encoding and writing would take turns. So the loop stands still until
the thread is at the disk; then both go on at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from agents.store.engine import DEADLINE_SECONDS, Result, Transaction, Work
from agents.store.faults import Fault, driver_errors, fault_of, told
from agents.store.sqlite_line import Pace, SqliteLine, prepare

_LOCK_SHARE = 2 / 3
"""Share of the deadline after which SQLite gives up on a lock, so that it says why."""
_MIGRATION_SECONDS = 120.0
_READER_THREADS = 4
_MOST_ON_LOOP = 32
"""Changes that the loop may write at once: about 1 ms, twice what encoding them took it."""
_HEAD_START_SECONDS = 0.003
"""Longest that the loop stands still for a large group: twice what the statements of most take."""
_IN_A_ROW = 1000
"""Changes written by the loop (20 MB) after which the writing thread has its turn, and copies SQLite's log back."""


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
        self._thread_line = SqliteLine(path, lock_wait=self._lock_wait)
        self._loop_line = SqliteLine(path, lock_wait=0, checkpoint_pages=0)
        self._pace = Pace()
        self._in_a_row = 0
        self._writes = 0
        """Work that the writing thread has or will have: it goes first."""

    async def read(self, work: Work[Result], *, deadline: float | None = None) -> Result:
        return await self._run(self._read_threads, partial(_in_transaction, self._reader, work), deadline)

    async def write(self, work: Work[Result], *, deadline: float | None = None, repeatable: bool = False) -> Result:
        del repeatable
        return await self._run(self._write_thread, partial(_in_transaction, self._writer, work), deadline)

    async def transact(
        self, script: Transaction[Result], *, deadline: float, changes: int = 0, more: bool = False
    ) -> Result:
        if not more and self._may_be_on_loop(changes):
            try:
                result = self._play(self._loop_line, script, changes)
            except driver_errors() as error:
                if fault_of(error) is not Fault.PASSES:
                    raise told(error, uncertain=False) from error
                # Another process writes: the thread can wait for it.
            else:
                self._in_a_row += changes
                return result
        self._in_a_row = 0
        ahead = Event() if changes > _MOST_ON_LOOP and not self._writes else None
        work = partial(self._play, self._thread_line, script, changes, ahead)
        return await self._run(self._write_thread, work, deadline, ahead)

    def _may_be_on_loop(self, changes: int) -> bool:
        small = 0 < changes <= _MOST_ON_LOOP
        return small and self._pace.quick and not self._writes and self._in_a_row < _IN_A_ROW

    async def migrate(self, work: Work[None]) -> None:
        await self._run(self._write_thread, partial(_in_transaction, self._writer, work), _MIGRATION_SECONDS)

    async def close(self) -> None:
        self._loop_line.close()  # first: the last connection copies SQLite's log back
        await self._run(self._read_threads, self._reader.dispose)
        await self._run(self._write_thread, self._close_writers)
        for threads in (self._read_threads, self._write_thread):
            threads.shutdown(wait=False)

    async def _run(
        self,
        threads: ThreadPoolExecutor,
        work: Callable[[], Result],
        deadline: float | None = None,
        ahead: Event | None = None,
    ) -> Result:
        """Run *work* in a thread; with *ahead*, hold the loop until it is set, for a short while at most."""
        writes = threads is self._write_thread
        self._writes += writes
        try:
            outcome = _in_thread(threads, work, deadline or self._deadline)
            if ahead is not None:
                ahead.wait(_HEAD_START_SECONDS)
            return await outcome
        except driver_errors() as error:
            raise told(error, uncertain=writes and isinstance(error, TimeoutError)) from error
        finally:
            self._writes -= writes

    def _play(self, line: SqliteLine, script: Transaction[Result], changes: int, ahead: Event | None = None) -> Result:
        if ahead is None:
            result = line.play(script)
        else:
            try:
                result = line.play(script, ahead.set)
            finally:
                ahead.set()
        if changes:
            self._pace.note(line.commit_seconds, changes)
        return result

    def _close_writers(self) -> None:
        self._writer.dispose()
        self._thread_line.close()

    def _engine(self, begin: str, *, pool_size: int) -> Engine:
        engine = create_engine(
            f"sqlite+pysqlite:///{self._path}",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=self._lock_wait,
            connect_args={"timeout": self._lock_wait, "check_same_thread": False},
        )

        def connected(driver: Any, _record: object) -> None:
            prepare(driver)

        def start(connection: Connection) -> None:
            # Past SQLAlchemy: this runs at every transaction, and its machinery costs many times the statement.
            driver: Any = connection.connection.driver_connection
            driver.execute(begin).close()

        event.listen(engine, "connect", connected)
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


def _in_transaction(engine: Engine, work: Work[Result]) -> Result:
    with engine.begin() as connection:
        return work(connection)
