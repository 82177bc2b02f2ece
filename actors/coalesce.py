"""Batching a stream by time: few large items across a process border instead of many small ones.

The first batch leaves after a short linger (so that a fast answer travels as one), later ones after
the full window; a batch never waits longer than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")

_MAX_WAITING = 10_000


async def coalesce(
    stream: AsyncIterator[T], *, linger: float = 0.002, window: float = 0.02
) -> AsyncGenerator[list[T], None]:
    """Yield lists of items of *stream*; closing it closes *stream*. Raises what *stream* raises, after its items."""
    waiting: list[T] = []
    changed = asyncio.Event()
    room = asyncio.Event()
    room.set()

    async def pump() -> None:
        try:
            async for item in stream:
                waiting.append(item)
                changed.set()
                if len(waiting) >= _MAX_WAITING:
                    room.clear()
                    await room.wait()
        finally:
            changed.set()
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    pumping = asyncio.create_task(pump())
    pause = linger
    try:
        while not pumping.done():
            await changed.wait()
            changed.clear()
            await asyncio.wait({pumping}, timeout=pause)
            pause = window
            if waiting:
                batch = waiting[:]
                waiting.clear()
                room.set()
                yield batch
        if waiting:
            yield waiting[:]
        pumping.result()
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
