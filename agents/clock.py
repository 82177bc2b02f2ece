"""Time as a port: domain code asks a Clock, tests move a ManualClock by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol


class Clock(Protocol):
    """Wall time, monotonic time and sleeping."""

    def now(self) -> datetime:
        """Return the aware UTC wall time."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of this clock's time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only by ``advance``; sleepers wake in order of their deadlines."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), wake))
        await wake

    def advance(self, seconds: float) -> None:
        """Move time forward and wake every sleeper whose deadline has come."""
        self._elapsed += seconds
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            wake = heapq.heappop(self._sleepers)[2]
            if not wake.done():
                wake.set_result(None)

    @property
    def sleeping(self) -> int:
        """How many sleepers wait."""
        return sum(not wake.done() for _, _, wake in self._sleepers)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, object]) -> bool:
    """Do *work* for at most *seconds* of *clock*'s time, then cancel it; returns whether it ended by itself.

    Raises what *work* raises, and what the clock does when it cannot sleep.
    """
    task, alarm = asyncio.ensure_future(work), asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        alarm.result()
        return False
    finally:
        task.cancel()
        alarm.cancel()


def rfc3339(moment: datetime) -> str:
    """Format an aware time as RFC 3339 UTC with microseconds, as every timestamp on the wire."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """Parse an RFC 3339 time; raises ValueError when *text* is none or has no zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone, such as 2026-11-21T00:00:00Z")
    return moment.astimezone(UTC)


def parse_day_or_time(text: str) -> datetime:
    """Parse a day, whose first moment (UTC) is meant, or an RFC 3339 time. Raises ValueError, which says so."""
    try:
        return parse_rfc3339(f"{text}T00:00:00Z" if len(text) == len("2026-11-01") else text)
    except (ValueError, OverflowError):
        raise ValueError("must be a day such as 2026-11-21 or an RFC 3339 time such as 2026-11-21T00:00:00Z") from None
