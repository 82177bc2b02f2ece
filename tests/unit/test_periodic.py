"""Work in the background: it goes on after a failure, and ends when it is stopped."""

from __future__ import annotations

import asyncio

import pytest

from agents.clock import ManualClock
from agents.errors import Unavailable
from agents.periodic import PeriodicTask
from tests.unit.waiting import until


async def test_a_failure_is_logged_and_the_work_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, outcomes, done = ManualClock(), [Unavailable("away"), None], list[str]()

    async def work() -> None:
        if (failure := outcomes.pop(0)) is not None:
            raise failure
        done.append("done")

    task = PeriodicTask("test", work, clock, every=5, failing="it stays as it is")
    task.start()
    for _ in range(2):
        await until(lambda: clock.sleeping)
        clock.advance(5)
        await until(lambda: clock.sleeping)
    await task.stop()

    assert done == ["done"] and not task.running
    assert caplog.messages == ["it stays as it is: away"]


async def test_it_can_be_stopped_in_the_midst_of_the_work_and_started_again() -> None:
    clock, begun = ManualClock(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = PeriodicTask("test", work, clock, every=5, failing="")
    for _ in range(2):
        begun.clear()
        task.start()
        await until(lambda: clock.sleeping)
        clock.advance(5)
        await begun.wait()
        await task.stop()
        assert not task.running
