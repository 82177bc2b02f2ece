"""The meter's buffer: bounded, written behind the hot path, kept while the database is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection

from agents.clock import ManualClock
from agents.economics.meter import MeterKind, MeterRow
from agents.errors import Overloaded, Unavailable
from agents.ids import SessionId
from agents.store.engine import Transaction
from agents.store.meter import SqlMeter


class CountingDatabase:
    """Counts writes, and fails them while it is down."""

    def __init__(self) -> None:
        self.down = False
        self.tried = asyncio.Semaphore(0)
        self.writes = 0

    async def read(self, work: Callable[[Connection], Any], **more: Any) -> Any:
        raise NotImplementedError

    async def transact(self, script: Transaction[Any], *, deadline: float, changes: int = 0, more: bool = False) -> Any:
        raise NotImplementedError

    async def migrate(self, work: Callable[[Connection], None]) -> None:
        raise NotImplementedError

    async def write(self, work: Callable[[Connection], Any], **more: Any) -> Any:
        self.tried.release()
        if self.down:
            raise Unavailable("down")
        self.writes += 1

    async def close(self) -> None: ...


def rows(count: int, start: int = 0) -> list[MeterRow]:
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    return [MeterRow(str(n), SessionId("s"), MeterKind.TOOL_CALL, "bash", moment) for n in range(start, start + count)]


async def asleep(clock: ManualClock) -> None:
    async with asyncio.timeout(5):
        while not clock.sleeping:
            await asyncio.sleep(0)


async def test_recording_returns_before_anything_is_written_and_gathers() -> None:
    database, clock = CountingDatabase(), ManualClock()
    meter = SqlMeter(database, clock)
    for n in range(10):
        await meter.record(rows(1, n))
    await asleep(clock)
    assert database.writes == 0
    clock.advance(0.2)
    await database.tried.acquire()
    await meter.flush()
    assert database.writes == 1
    await meter.close()


async def test_rows_stay_while_the_database_is_down_and_are_written_when_it_is_back() -> None:
    database, clock = CountingDatabase(), ManualClock()
    meter = SqlMeter(database, clock, buffer=3)
    database.down = True
    await meter.record(rows(2))
    await asleep(clock)
    clock.advance(0.2)
    await database.tried.acquire()
    with pytest.raises(Overloaded):
        await meter.record(rows(2, 2))
    with pytest.raises(Unavailable):
        await meter.flush()
    database.down = False
    while database.writes == 0:
        await asleep(clock)
        clock.advance(2)
        await asyncio.sleep(0)
    await meter.record(rows(3, 2))
    await meter.close()
    assert database.writes == 2


async def test_a_large_buffer_is_written_in_groups() -> None:
    database = CountingDatabase()
    meter = SqlMeter(database, ManualClock())
    await meter.record(rows(2500))
    await meter.flush()
    assert database.writes == 3
    await meter.flush()
    assert database.writes == 3
    await meter.close()
