"""Answering automatic retries from memory (spec H-7), within bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.clock import ManualClock
from agents.sessions.repeats import RepeatMemory


class Work:
    """Counts how often it is done."""

    def __init__(self) -> None:
        self.done = 0

    async def __call__(self) -> list[dict[str, Any]]:
        self.done += 1
        await asyncio.sleep(0)
        return [{"n": self.done}]


async def test_a_retry_within_the_span_is_answered_from_memory() -> None:
    clock, work = ManualClock(), Work()
    memory = RepeatMemory(clock, 60)
    first = await memory.once("s/0:abc", work)
    clock.advance(59)
    assert await memory.once("s/1:abc", work) == first and work.done == 1
    clock.advance(2)
    await memory.once("s/2:abc", work)
    assert work.done == 2


async def test_a_retry_that_overtakes_its_first_attempt_waits_for_it() -> None:
    memory, work = RepeatMemory(ManualClock(), 60), Work()
    one, two = await asyncio.gather(memory.once("s/0:abc", work), memory.once("s/1:abc", work))
    assert one == two and work.done == 1


async def test_the_same_words_sent_twice_on_purpose_are_two_messages() -> None:
    memory, work = RepeatMemory(ManualClock(), 60), Work()
    await memory.once("s/0:abc", work)
    await memory.once("s/0:abc", work)
    await memory.once("other/1:abc", work)
    assert work.done == 3


async def test_a_failed_attempt_is_not_remembered() -> None:
    memory, work = RepeatMemory(ManualClock(), 60), Work()

    async def fail() -> list[dict[str, Any]]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await memory.once("s/0:abc", fail)
    assert await memory.once("s/1:abc", work) == [{"n": 1}]


async def test_it_can_be_turned_off() -> None:
    memory, work = RepeatMemory(ManualClock(), 0), Work()
    await memory.once("s/0:abc", work)
    await memory.once("s/1:abc", work)
    assert work.done == 2


async def test_what_is_older_than_the_span_is_let_go() -> None:
    clock, work = ManualClock(), Work()
    memory = RepeatMemory(clock, 60)
    for number in range(50):
        await memory.once(f"s/0:{number}", work)
        clock.advance(10)
    assert len(memory) <= 7
