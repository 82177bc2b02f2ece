from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.coalesce import coalesce
from tests.unit.waiting import until


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


class Skips:
    """Moves the event loop's clock on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real, self.skipped = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + self.skipped)


async def test_what_comes_after_a_pause_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, gate = Skips(monkeypatch), asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await gate.wait()
        yield 2
        await asyncio.Event().wait()

    stream = coalesce(numbers(), window=3600.0)
    assert await anext(stream) == [1]
    clock.skipped += 3600.0
    gate.set()
    async with asyncio.timeout(5):
        assert await anext(stream) == [2]
    await stream.aclose()


async def test_a_fast_stream_fills_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, gates = Skips(monkeypatch), [asyncio.Event(), asyncio.Event()]
    said: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        yield 1
        for number, gate in enumerate(gates, start=2):
            await gate.wait()
            said.append(number)
            yield number
        await asyncio.Event().wait()

    stream = coalesce(numbers(), window=3600.0)
    assert await anext(stream) == [1]
    batch = asyncio.ensure_future(anext(stream))
    for count, gate in enumerate(gates, start=1):
        gate.set()
        await until(lambda count=count: len(said) >= count)
        clock.skipped += 60.0  # far longer than it lingers
        for _ in range(10):
            await asyncio.sleep(0)
    assert not batch.done()
    clock.skipped += 3600.0
    async with asyncio.timeout(5):
        assert await batch == [2, 3]
    await stream.aclose()


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
