"""Work in threads: waiting for it, and room for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Awaitable[T], *, on_cancel: Callable[[], object] = lambda: None) -> T:
    """Wait for work in a thread; when the caller is cancelled, call *on_cancel* and return only once it has ended.

    A thread cannot be stopped from outside, and what it works on must not be taken away from under it.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        on_cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # nobody wants to know any more
        raise


def make_room_for_threads(most: int) -> None:
    """Let at least *most* threads of anyio work for this event loop at a time; by itself it stops at forty."""
    import anyio.to_thread

    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = max(limiter.total_tokens, most)
