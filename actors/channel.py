"""Frames of many sessions on one stream from a harness to a gateway.

While one batch is on its way the next one gathers, so a busy channel sends few, large batches and an
idle one sends at once. The buffer is bounded: a gateway that stops reading loses its channel, reopens
it and catches up from the log, as a restarted one would.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Sequence

from agents.sessions.bus import Bus
from agents.sessions.host import Frame

_MAX_BUFFERED = 50_000
_KEEPALIVE_SECONDS = 10.0

Batch = list[tuple[str, list[Frame]]]


class _SessionSink:
    """What one gateway wants of one session."""

    __slots__ = ("channel", "previews")

    def __init__(self, channel: GatewayChannel, previews: frozenset[str]) -> None:
        self.channel = channel
        self.previews = previews

    def deliver(self, session_id: str, frames: Sequence[Frame]) -> None:
        self.channel.push(session_id, frames)


class GatewayChannel:
    """The harness's end of a channel."""

    def __init__(self) -> None:
        self._sinks: dict[str, _SessionSink] = {}
        self._buffer: Batch = []
        self._buffered = 0
        self._ready = asyncio.Event()
        self._closed = False

    def watch(self, bus: Bus, session_id: str, previews: frozenset[str]) -> None:
        sink = self._sinks.get(session_id)
        if sink is None:
            sink = self._sinks[session_id] = _SessionSink(self, previews)
            bus.attach(session_id, sink)
        else:
            sink.previews |= previews

    def unwatch(self, bus: Bus, session_id: str) -> None:
        sink = self._sinks.pop(session_id, None)
        if sink is not None:
            bus.detach(session_id, sink)

    def push(self, session_id: str, frames: Sequence[Frame]) -> None:
        self._buffered += len(frames)
        if self._buffered > _MAX_BUFFERED:
            self._closed = True
        else:
            self._buffer.append((session_id, list(frames)))
        self._ready.set()

    async def batches(self) -> AsyncIterator[bytes]:
        """Yield pickled batches; empty ones open the channel and keep it alive."""
        yield pickle.dumps([])
        while not self._closed:
            try:
                async with asyncio.timeout(_KEEPALIVE_SECONDS):
                    await self._ready.wait()
            except TimeoutError:
                pass
            self._ready.clear()
            batch, self._buffer, self._buffered = self._buffer, [], 0
            yield pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL)

    def close(self, bus: Bus) -> None:
        self._closed = True
        self._ready.set()
        for session_id in list(self._sinks):
            self.unwatch(bus, session_id)
