from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.coalesce import coalesce


async def test_items_that_are_ready_together_travel_together() -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(100):
            yield number

    batches = [batch async for batch in coalesce(numbers())]
    assert [n for batch in batches for n in batch] == list(range(100))
    assert len(batches) == 1


async def test_a_slow_stream_is_not_held_back() -> None:
    gate = asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await gate.wait()
        yield 2

    stream = coalesce(numbers())
    async with asyncio.timeout(5):
        assert await anext(stream) == [1]
        gate.set()
        assert await anext(stream) == [2]
        assert await anext(stream, None) is None


async def test_a_failure_comes_after_what_was_said_before_it() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    stream = coalesce(numbers())
    assert await anext(stream) == [1]
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)


async def test_closing_it_closes_the_stream() -> None:
    closed = asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = coalesce(numbers())
    await anext(stream)
    await stream.aclose()
    assert closed.is_set()
