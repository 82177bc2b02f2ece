"""Both clocks keep the Clock port's promises; a driver moves the manual one, as time moves the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, timedelta

import pytest

from agents.clock import Clock, ManualClock, SystemClock, parse_rfc3339, rfc3339


@dataclass
class Subject:
    """A clock and how to make its time pass."""

    clock: Clock
    pass_time: Callable[[float], None]


@pytest.fixture(params=["system", "manual"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "system":
        yield Subject(SystemClock(), lambda _: None)
    else:
        manual = ManualClock()
        yield Subject(manual, manual.advance)


async def _asleep(clock: Clock, count: int) -> None:
    """Let sleepers lie down: a manual clock must not move before they have."""
    async with asyncio.timeout(5):
        while isinstance(clock, ManualClock) and clock.sleeping < count:
            await asyncio.sleep(0)


async def test_now_is_aware_utc(subject: Subject) -> None:
    assert subject.clock.now().tzinfo is UTC


async def test_sleeping_takes_that_long_by_both_of_its_times(subject: Subject) -> None:
    wall, mono = subject.clock.now(), subject.clock.monotonic()
    sleeper = asyncio.create_task(subject.clock.sleep(0.05))
    await _asleep(subject.clock, 1)
    subject.pass_time(0.05)
    async with asyncio.timeout(5):
        await sleeper
    assert subject.clock.monotonic() - mono >= 0.049
    assert subject.clock.now() - wall >= timedelta(seconds=0.049)


async def test_sleepers_wake_in_the_order_of_their_deadlines(subject: Subject) -> None:
    woken: list[int] = []

    async def sleep(number: int, seconds: float) -> None:
        await subject.clock.sleep(seconds)
        woken.append(number)

    sleepers = [asyncio.create_task(sleep(n, s)) for n, s in ((3, 0.12), (1, 0.02), (2, 0.07))]
    await _asleep(subject.clock, 3)
    subject.pass_time(0.12)
    async with asyncio.timeout(5):
        await asyncio.gather(*sleepers)
    assert woken == [1, 2, 3]


async def test_sleeping_no_time_only_gives_way(subject: Subject) -> None:
    async with asyncio.timeout(5):
        await subject.clock.sleep(0)
        await subject.clock.sleep(-1)


async def test_a_cancelled_sleeper_does_not_disturb_the_others(subject: Subject) -> None:
    one, two = (asyncio.create_task(subject.clock.sleep(0.03)) for _ in range(2))
    await _asleep(subject.clock, 2)
    one.cancel()
    subject.pass_time(0.03)
    async with asyncio.timeout(5):
        await two
    assert one.cancelled() or (await asyncio.gather(one, return_exceptions=True))


async def test_its_times_survive_the_wire(subject: Subject) -> None:
    now = subject.clock.now()
    assert parse_rfc3339(rfc3339(now)) == now
