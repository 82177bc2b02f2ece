"""Bodies of requests reach a replica no faster than its application reads them.

To hear of clients that go away, Ray Serve (2.60) reads each request ahead of its application, into a queue without a
bound: an upload that comes faster than it is stored would be in memory. Here that queue has one, and who fills it
waits, which stops the client by TCP. A request without a body is two messages, so that disconnects are heard of as
before; behind a body that nobody reads they are not, and applications have deadlines for those.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ray.serve._private import replica
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy

MESSAGES = 8
"""Of up to 64 KiB each, as uvicorn makes them."""


class BoundedReceive(ASGIDIReceiveProxy):
    """Serve's reader of one request, held to its application's pace."""

    @property
    def queue(self) -> asyncio.Queue[Any]:
        if self._queue is None:
            self._queue = asyncio.Queue(MESSAGES)
        return self._queue

    async def _fetch_until_disconnect(self) -> int | None:
        while True:
            message = await self._receive()
            await self._put(message)
            if message["type"] == "http.disconnect":
                self._disconnect_message = message
                return None
            if message["type"] == "websocket.disconnect":
                self._disconnect_message = message
                return message["code"]

    async def _put(self, message: Any) -> None:
        if asyncio.get_running_loop() is self._user_event_loop:
            await self.queue.put(message)
        else:
            putting = asyncio.run_coroutine_threadsafe(self.queue.put(message), self._user_event_loop)
            await asyncio.wrap_future(putting)


def bound_bodies() -> None:
    """Have every request of this process's replica read so."""
    replica.ASGIDIReceiveProxy = BoundedReceive  # pyright: ignore[reportPrivateImportUsage]
