"""Batching a stream by time: few large items across a process border instead of many small ones.

A batch leaves after a short linger (so that a fast answer travels as one), but no sooner than a full window after the
one before it: a model that pauses, as before its first token, is not held back, and one that is fast fills the window.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from agents.brains.port import closing
from agents.errors import HecatonError

T = TypeVar("T")

_MAX_WAITING = 10_000


def in_batches(stream: AsyncIterator[T], *, live: bool) -> AsyncGenerator[list[T], None]:
    """Yield the items as ``coalesce`` does when somebody watches (*live*), else as ``in_two`` does."""
    return coalesce(stream) if live else in_two(stream)


async def coalesce(
    stream: AsyncIterator[T], *, linger: float = 0.002, window: float = 0.02
) -> AsyncGenerator[list[T], None]:
    """Yield lists of items of *stream*; closing it closes *stream*. Raises what *stream* raises, after its items."""
    waiting: list[T] = []
    changed = asyncio.Event()
    room = asyncio.Event()
    room.set()

    async def pump() -> None:
        async with closing(stream):
            try:
                async for item in stream:
                    waiting.append(item)
                    changed.set()
                    if len(waiting) >= _MAX_WAITING:
                        room.clear()
                        await room.wait()
            finally:
                changed.set()

    pumping = asyncio.create_task(pump())
    clock = asyncio.get_running_loop().time
    earliest = 0.0
    try:
        while not pumping.done():
            await changed.wait()
            changed.clear()
            await asyncio.wait({pumping}, timeout=max(linger, earliest - clock()))
            earliest = clock() + window
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


async def in_two(stream: AsyncIterator[T]) -> AsyncGenerator[list[T], None]:
    """Yield the first item at once and the others together at the end; closing it closes *stream*.

    For an answer that nobody watches: its opening tells what was asked for, and so what an interrupt has cost.
    Raises what *stream* raises, after its items.
    """
    rest: list[T] = []
    failure: HecatonError | None = None
    async with closing(stream):
        try:
            opening = await anext(stream, None)
            if opening is None:
                return
            yield [opening]
            async for item in stream:
                rest.append(item)  # noqa: PERF401 - what came before a failure was paid for
        except HecatonError as error:
            failure = error
    if rest:
        yield rest
    if failure is not None:
        raise failure
