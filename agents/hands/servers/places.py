"""Places for requests on one connection: bounded, and closed some time after the last one has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from agents.errors import Overloaded

BUSY_SECONDS = 1.0
"""When to ask again whoever does not say."""
_MOST_WAITING = 1024


class Places:
    """Counts who is on a connection, and who waits for that."""

    def __init__(self, most: int, *, idle_seconds: float, on_idle: Callable[[], None]) -> None:
        """*on_idle* is called when nobody has been here for *idle_seconds*."""
        self._free = asyncio.Semaphore(most)
        self._waiting = 0
        self._idle_seconds = idle_seconds
        self._on_idle = on_idle
        self._timer: asyncio.TimerHandle | None = None
        self.users = 0
        """Requests under way, those that wait for a place included."""

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Hold a place, after waiting for one. Raises Overloaded when too many wait already."""
        if self._waiting >= _MOST_WAITING:
            raise Overloaded(f"{self._waiting} requests to this server wait already", retry_after=BUSY_SECONDS)
        self.stop_clock()
        self.users += 1
        self._waiting += 1
        try:
            try:
                await self._free.acquire()
            finally:
                self._waiting -= 1
            try:
                yield
            finally:
                self._free.release()
        finally:
            self.users -= 1
            if self.users == 0:
                self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._on_idle)

    def stop_clock(self) -> None:
        """Count no idle time any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
