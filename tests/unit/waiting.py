"""Waiting for what no event announces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LOOK_SECONDS = 0.001


async def until(holds: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until *holds* is true. Raises TimeoutError after *seconds*."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(_LOOK_SECONDS)
