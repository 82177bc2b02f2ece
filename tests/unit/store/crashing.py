"""A database that breaks where it is told to: before or after any statement, before or after the commit.

Three ways to break. The connection is lost and the transaction tried again, as the store's own patience does it;
it is lost for good, and the caller told so; or the process itself died: whatever else it asks of the database
fails, and nobody hears the answers. Either way the transaction is whole or absent, as a real database has it;
what is on trial is everything above it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Connection, event

from agents.errors import Unavailable
from agents.store.engine import Database, Result, Transaction, Work
from agents.store.script import Ask, Rows, Script, Write


class Point(Enum):
    """Where in a transaction it breaks."""

    BEFORE_STATEMENT = "before statement"
    AFTER_STATEMENT = "after statement"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"


class Way(Enum):
    """How it breaks."""

    PASSES = "passes"
    LOST = "lost"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class Fault:
    """One break. ``statement`` counts from 0 within its transaction; beyond its last one nothing breaks."""

    point: Point
    statement: int = 0
    way: Way = Way.LOST


class ProcessDied(Exception):
    """The process that asked is gone."""


class _Broken(Exception):
    """No driver's error, so that nothing below takes it for something to ride out."""


class CrashingDatabase:
    """Passes work on to *inner* until a fault is due."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self._faults: list[Fault] = []
        self.dead = False
        self.committed = 0
        """Transactions that went through since ``arm``, whether or not the process heard of it."""
        self.broke = False
        """Whether a fault came true since ``arm``."""
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        """What others do once a fault came true, before this process goes on."""

    def arm(self, *faults: Fault) -> None:
        """Let the next transactions meet these faults, one each, and begin to count anew."""
        self._faults = list(faults)
        self.committed, self.broke, self.meanwhile = 0, False, None

    async def read(self, work: Work[Result], *, deadline: float | None = None) -> Result:
        if self.dead:
            raise ProcessDied
        return await self._inner.read(work, deadline=deadline)

    async def write(self, work: Work[Result], *, deadline: float | None = None, repeatable: bool = False) -> Result:
        async def once(fault: Fault | None) -> Result:
            return await self._inner.write(lambda connection: _worked(work, connection, fault), deadline=deadline)

        return await self._attempts(once, repeatable)

    async def transact(
        self, script: Transaction[Result], *, deadline: float, changes: int = 0, more: bool = False
    ) -> Result:
        async def once(fault: Fault | None) -> Result:
            return await self._inner.transact(
                lambda: _played(script(), fault), deadline=deadline, changes=changes, more=more
            )

        return await self._attempts(once, True)

    async def migrate(self, work: Work[None]) -> None:
        await self._inner.migrate(work)

    async def close(self) -> None: ...

    async def _attempts(self, once: Callable[[Fault | None], Awaitable[Result]], repeatable: bool) -> Result:
        while True:
            if self.dead:
                raise ProcessDied
            fault = self._faults.pop(0) if self._faults else None
            try:
                result = await once(fault)
                self.committed += 1
                if fault is None or fault.point is not Point.AFTER_COMMIT:
                    return result
            except _Broken:
                assert fault is not None
            self.broke, self.dead = True, fault.way is Way.DIED
            if self.meanwhile is not None:
                await self.meanwhile()
            if fault.way is not Way.PASSES or (fault.point is Point.AFTER_COMMIT and not repeatable):
                raise ProcessDied if self.dead else Unavailable("the connection is lost")


class _Breaker:
    """Breaks one transaction at its point."""

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self._statements = 0

    def at(self, point: Point) -> None:
        fault = self._fault
        if fault is None or fault.point is not point:
            return
        if point is Point.BEFORE_COMMIT or self._statements == fault.statement:
            raise _Broken
        self._statements += 1


def _worked(work: Work[Result], connection: Connection, fault: Fault | None) -> Result:
    breaker = _Breaker(fault)

    def before(*_: Any) -> None:
        breaker.at(Point.BEFORE_STATEMENT)

    def after(*_: Any) -> None:
        breaker.at(Point.AFTER_STATEMENT)

    event.listen(connection, "before_cursor_execute", before)
    event.listen(connection, "after_cursor_execute", after)
    try:
        result = work(connection)
    finally:
        event.remove(connection, "before_cursor_execute", before)
        event.remove(connection, "after_cursor_execute", after)
    breaker.at(Point.BEFORE_COMMIT)
    return result


def _played(script: Script[Result], fault: Fault | None) -> Script[Result]:
    breaker = _Breaker(fault)
    try:
        step = next(script)
        while True:
            step = script.send((yield from _row_by_row(step, breaker)))
    except StopIteration as end:
        breaker.at(Point.BEFORE_COMMIT)
        return end.value


def _row_by_row(step: Ask | Write, breaker: _Breaker) -> Generator[Ask | Write, Rows, Rows]:
    """Do a step; of one that writes many rows each is a statement, so that it can break between any two."""
    answered: Rows = []
    for part in [step] if isinstance(step, Ask) else [Write(step.statement, [row]) for row in step.rows]:
        breaker.at(Point.BEFORE_STATEMENT)
        answered = yield part
        breaker.at(Point.AFTER_STATEMENT)
    return answered
