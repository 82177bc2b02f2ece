"""Waiting on a clock."""

from __future__ import annotations

import asyncio

import pytest

from agents.clock import ManualClock, within


class BrokenClock(ManualClock):
    async def sleep(self, seconds: float) -> None:
        raise OSError("no time today")


async def test_a_clock_that_cannot_sleep_fails_the_wait_and_does_not_end_it() -> None:
    with pytest.raises(OSError, match="no time"):
        await within(BrokenClock(), 60.0, asyncio.Event().wait())
