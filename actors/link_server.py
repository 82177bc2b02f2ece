"""The harness's end of its links to gateways: calls in, replies and frames out, all on one connection.

A gateway learns address and token by an actor call, so only who may call the actor can connect.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from actors.message_stream import MessageStream
from actors.replies import Reply
from agents.sessions.bus import Bus
from agents.sessions.host import Frame

logger = logging.getLogger(__name__)

_GREETING_SECONDS = 10.0
_TOKEN_BYTES = 32

Dispatch = Callable[[str, Sequence[Any]], Awaitable[Reply]]


class _SessionSink:
    """What one gateway wants of one session."""

    __slots__ = ("previews", "stream")

    def __init__(self, stream: MessageStream, previews: frozenset[str]) -> None:
        self.stream = stream
        self.previews = previews

    def deliver(self, session_id: str, frames: Sequence[Frame]) -> None:
        self.stream.send(("frames", session_id, [frame.packed() for frame in frames]))


class LinkServer:
    """Accepts gateways."""

    def __init__(self, dispatch: Dispatch, bus: Bus) -> None:
        self._dispatch = dispatch
        self._bus = bus
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.open_links = 0

    async def start(self, host: str) -> tuple[str, int, bytes]:
        """Listen on *host*; returns where, and the token that a gateway must show."""
        self._server = await asyncio.start_server(self._serve, host, 0)
        return host, self._server.sockets[0].getsockname()[1], self._token

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                shown = await reader.readexactly(_TOKEN_BYTES)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            writer.close()
            return
        if not hmac.compare_digest(shown, self._token):
            logger.warning("a connection without the token was refused")
            writer.close()
            return
        await self._serve_gateway(MessageStream(reader, writer))

    async def _serve_gateway(self, stream: MessageStream) -> None:
        sinks: dict[str, _SessionSink] = {}
        self.open_links += 1
        try:
            async for batch in stream.batches():
                for kind, *rest in batch:
                    if kind == "call":
                        self._call(stream, *rest)
                    elif kind == "watch":
                        self._watch(stream, sinks, *rest)
                    elif kind == "unwatch" and (sink := sinks.pop(rest[0], None)) is not None:
                        self._bus.detach(rest[0], sink)
        finally:
            self.open_links -= 1
            for session_id, sink in sinks.items():
                self._bus.detach(session_id, sink)

    def _call(self, stream: MessageStream, number: int, method: str, args: Sequence[Any]) -> None:
        async def work() -> None:
            stream.send(("reply", number, await self._dispatch(method, args)))

        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _watch(
        self,
        stream: MessageStream,
        sinks: dict[str, _SessionSink],
        number: int,
        session_id: str,
        previews: frozenset[str],
    ) -> None:
        sink = sinks.get(session_id)
        if sink is None:
            sink = sinks[session_id] = _SessionSink(stream, previews)
            self._bus.attach(session_id, sink)
        else:
            sink.previews |= previews
        stream.send(("reply", number, Reply(True)))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
