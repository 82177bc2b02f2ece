"""The serving end of links: calls and streams in, replies and items out, all on one connection.

A caller learns address and token by an actor call, so only who may call the actor can connect. What
else a connection can do (a gateway watches sessions) its own kind of ``Connection`` adds.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import ray

from actors.heartbeat import SERVER_BEATS, watch_pulse
from actors.message_stream import Message, MessageStream
from actors.replies import Reply
from agents.api.peers import is_loopback
from agents.config import Settings
from agents.errors import HecatonError, InvalidRequest, Unavailable
from agents.telemetry.tracing.context import arrive

logger = logging.getLogger(__name__)

_GREETING_SECONDS = 10.0
_TOKEN_BYTES = 32

Endpoint = tuple[str, int, bytes]
"""Host, port and the token to show."""

TRACES = "traces"
"""What a server says in its greeting that takes the context of a trace with a call and tells what it did for it."""
TRACED = frozenset({"call", "stream"})
"""Kinds of messages that a context may go with."""

Call = Callable[[str, Sequence[Any]], Awaitable[Reply]]
Stream = Callable[[str, Sequence[Any]], AsyncGenerator[Any, None]]


async def no_calls(method: str, args: Sequence[Any]) -> Reply:
    del args
    return Reply(error=InvalidRequest(f"no such call: {method}"))


class Connection:
    """One caller: runs its calls and streams side by side, and ends them when it goes."""

    def __init__(self, stream: MessageStream, call: Call, items: Stream | None) -> None:
        self.stream = stream
        self._call = call
        self._items = items
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def received(self, message: Message) -> None:
        """Take one message of the caller."""
        match message:
            case ("call", int(number), str(method), args):
                self._start(number, self._answer(number, method, args))
            case ("stream", int(number), str(method), args):
                self._start(number, self._stream_items(number, method, args))
            case ("call", int(number), str(method), args, str(traceparent)):
                self._start(number, self._answer(number, method, args, traceparent))
            case ("stream", int(number), str(method), args, str(traceparent)):
                self._start(number, self._stream_items(number, method, args, traceparent))
            case ("ping", _):
                self.stream.send(("pong", 0))
            case ("cancel", int(number)):
                if (task := self._tasks.get(number)) is not None:
                    task.cancel()
            case _:
                logger.warning("a message of unknown kind %r was ignored", message[0])

    def _start(self, number: int, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _answer(self, number: int, method: str, args: Sequence[Any], traceparent: str = "") -> None:
        start = _begun(traceparent)
        try:
            reply = await self._call(method, args)
        except Exception:
            # Actor-supervisor border: a fault of ours is an answer too, or the caller would wait for its deadline.
            logger.exception("call %s failed", method)
            reply = Reply(error=Unavailable(f"{method} failed inside the server"))
        self._reply(number, reply, start)

    async def _stream_items(self, number: int, method: str, args: Sequence[Any], traceparent: str = "") -> None:
        start = _begun(traceparent)
        assert self._items is not None, "nobody opens streams here"
        try:
            async with aclosing(self._items(method, args)) as items:
                async for item in items:
                    self.stream.send(("item", number, item))
            reply = Reply()
        except HecatonError as error:
            reply = Reply(error=error)
        except Exception:
            # The same border as in _answer.
            logger.exception("stream %s failed", method)
            reply = Reply(error=Unavailable(f"{method} failed inside the server"))
        self._reply(number, reply, start)

    def _reply(self, number: int, reply: Reply, start: int) -> None:
        if not start:
            self.stream.send(("reply", number, reply))
            return
        error = None if reply.error is None else type(reply.error).__name__
        self.stream.send(("reply", number, reply, (start, _now(), error)))

    @property
    def under_way(self) -> tuple[asyncio.Task[None], ...]:
        """The caller's calls and streams that have not ended yet."""
        return tuple(self._tasks.values())

    async def closed(self) -> None:
        """End whatever still runs for the caller."""
        tasks = self.under_way
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _begun(traceparent: str) -> int:
    """Take part in the caller's trace, if it is one; returns since when (microseconds), 0 when it is none."""
    if not traceparent:
        return 0
    arrive(traceparent)
    return _now()


def _now() -> int:
    return time.time_ns() // 1000


class LinkServer:
    """Accepts callers and gives each a Connection."""

    def __init__(self, connect: Callable[[MessageStream], Connection]) -> None:
        self._connect = connect
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._server: asyncio.Server | None = None
        self._connections: dict[MessageStream, Connection] = {}
        self._draining = False

    @property
    def open_links(self) -> int:
        return len(self._connections)

    async def start(self, host: str) -> Endpoint:
        """Listen on *host*; returns where, and the token that a caller must show."""
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
        stream = MessageStream(reader, writer)
        connection = self._connections[stream] = self._connect(stream)
        # A caller takes the link for open when it has heard from it: a stopped process accepts connections too.
        stream.send(("hello", 0, TRACES))
        if self._draining:
            stream.send(("draining", 0))
        watching = asyncio.create_task(watch_pulse(stream, beats=SERVER_BEATS, pings=False))
        try:
            async for batch in stream.batches():
                for message in batch:
                    connection.received(message)
        finally:
            watching.cancel()
            del self._connections[stream]
            await connection.closed()

    async def drain(self, seconds: float) -> None:
        """Ask the callers for nothing new, and give what is under way *seconds* to end."""
        self._draining = True
        self.tell("draining", 0)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        # In rounds: until the word has reached them, callers may still begin something.
        while tasks := [task for each in self._connections.values() for task in each.under_way]:
            if loop.time() >= end:
                logger.warning("%d calls were still under way after %g s of draining", len(tasks), seconds)
                return
            await asyncio.wait(tasks, timeout=end - loop.time())

    def tell(self, *message: Any) -> None:
        """Send all callers a message that is not answered."""
        for stream in self._connections:
            stream.send(message)

    def hang_up(self) -> None:
        """Close every link; callers may open new ones."""
        for stream in tuple(self._connections):
            stream.close()

    async def stop(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        self.hang_up()


def link_address(settings: Settings) -> str:
    """Where links listen: beyond this machine only when the platform serves others too."""
    return "127.0.0.1" if is_loopback(settings.host) else ray.util.get_node_ip_address()
