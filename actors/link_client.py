"""The calling end of a link: calls and streams over one connection that is opened again when it breaks.

When the link breaks (its server died or restarted) everything under way on it fails as LinkLost: nobody
knows then whether it was carried out. While the link is down new calls fail as LinkDown: nothing was sent.
A server whose machine is gone says no goodbye: the kernel notices, because what was sent is not
acknowledged, or because an idle connection no longer answers its probes. One that is only stopped or stuck
is noticed by its silence (``actors.heartbeat``); a link counts as open once its server has said something.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from ray.exceptions import RayError

from actors.heartbeat import CALLER_BEATS, watch_pulse
from actors.link_server import TRACED, TRACES, Endpoint
from actors.message_stream import Message, MessageStream
from actors.replies import Reply
from agents.errors import HecatonError, Unavailable
from agents.telemetry.tracing.context import Told, handed_on

logger = logging.getLogger(__name__)

_OPEN_SECONDS = 30.0
_GREETING_SECONDS = 10.0
_REOPEN_SECONDS = 0.2
# A kernel that acknowledges nothing for ten seconds is gone; that of a process which is only stopped acknowledges.
_PROBES = {
    socket.TCP_KEEPIDLE: 4,
    socket.TCP_KEEPINTVL: 2,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 10_000,
}

Find = Callable[[], Awaitable[Endpoint]]


class LinkLost(Unavailable):
    """The link broke, or its answer did not come in time: the call may have been carried out or not."""


class LinkDown(Unavailable):
    """The link is not open: nothing was sent."""


class LinkClient:
    """A link to *name*, whose endpoint *find* looks up each time the link is opened."""

    def __init__(
        self,
        name: str,
        find: Find,
        *,
        on_message: Callable[[Message], None] = lambda _: None,
        on_lost: Callable[[], None] = lambda: None,
        reopen: bool = True,
        open_seconds: float = _OPEN_SECONDS,
        beats: int = CALLER_BEATS,
    ) -> None:
        self.name = name
        self._find = find
        self._on_message = on_message
        self._on_lost = on_lost
        self._reopen = reopen
        self._open_seconds = open_seconds
        self._beats = beats
        self._numbers = itertools.count()
        self._pending: dict[int, asyncio.Queue[Reply | Message]] = {}
        self._topics: dict[int, int] = {}
        self._listeners: dict[int, Told] = {}
        self._takes_traces = False
        """Whether the server knows what to do with the context of a trace; one of an earlier release does not."""
        self._stream: MessageStream | None = None
        self._opened = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.draining = False
        """Whether the server has asked for nothing new."""
        self.failure: Exception | None = None
        """Why the link could not be opened the last time."""

    @property
    def open(self) -> bool:
        """Whether a message would be sent at once."""
        return self._stream is not None and not self._stream.closed

    @property
    def under_way(self) -> int:
        """Calls and streams that have not ended yet."""
        return len(self._pending)

    @property
    def ended(self) -> bool:
        """Whether the link is gone for good."""
        return self._keeper is not None and self._keeper.done()

    async def call(
        self, kind: str, *content: Any, timeout: float, cancels: bool = False, topic: int | None = None
    ) -> Any:
        """Send a message that is answered. Raises the domain error of the answer, LinkLost or LinkDown.

        With *cancels* the work ends when its answer is no longer waited for. *topic* is what ``cut`` goes by.
        """
        number, inbox = await self._ask(kind, content)
        if topic is not None:
            self._topics[number] = topic
        reply: Reply | Message | None = None
        try:
            async with asyncio.timeout(timeout):
                reply = await inbox.get()
        except TimeoutError:
            raise LinkLost(f"{self.name} did not answer within {timeout:g} s", retry_after=1.0) from None
        finally:
            self._forget(number)
            self._topics.pop(number, None)
            if cancels and reply is None:
                self.post("cancel", number)
        assert isinstance(reply, Reply)
        return _value(reply)

    async def stream(self, method: str, *args: Any, timeout: float) -> AsyncGenerator[Any, None]:
        """Yield what *method* yields, all of it within *timeout*; closing it early cancels the work.

        Raises as ``call``.
        """
        number, inbox = await self._ask("stream", (method, args))
        end = asyncio.get_running_loop().time() + timeout
        finished = False
        try:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        got = await inbox.get()
                except TimeoutError:
                    raise LinkLost(f"{self.name} did not answer within {timeout:g} s") from None
                if isinstance(got, Reply):
                    finished = True
                    _value(got)
                    return
                yield got[2]
        finally:
            self._forget(number)
            if not finished:
                self.post("cancel", number)

    def post(self, *message: Any) -> None:
        """Send a message that is not answered; does nothing while the link is down."""
        if self._stream is not None:
            self._stream.send(message)

    def cut(self, lost: Callable[[int], bool]) -> None:
        """Wait no longer for calls whose topic is *lost*: each fails as LinkLost."""
        for number in [number for number, topic in self._topics.items() if lost(topic)]:
            self._pending[number].put_nowait(Reply(error=LinkLost(f"{self.name} is no longer asked", retry_after=1.0)))

    async def _ask(self, kind: str, content: tuple[Any, ...]) -> tuple[int, asyncio.Queue[Reply | Message]]:
        stream = self._stream
        if stream is None or stream.closed:
            stream = await self._connected()
        number = next(self._numbers)
        # Unbounded, but fed only by what this side asked for; the connection's buffers are bounded.
        inbox: asyncio.Queue[Reply | Message] = asyncio.Queue()
        self._pending[number] = inbox
        trace = handed_on() if self._takes_traces and kind in TRACED else None
        if trace is None:
            stream.send((kind, number, *content))
        else:
            stream.send((kind, number, *content, trace.context.traceparent()))
            if trace.told is not None:
                self._listeners[number] = trace.told
        return number, inbox

    def _forget(self, number: int) -> None:
        self._pending.pop(number, None)
        self._listeners.pop(number, None)

    # -- the connection --------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open the link unless it is open. Raises LinkDown."""
        await self._connected()

    async def _connected(self) -> MessageStream:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_open())
        try:
            async with asyncio.timeout(self._open_seconds):
                await self._opened.wait()
        except TimeoutError:
            raise LinkDown(f"{self.name} cannot be reached", retry_after=1.0) from None
        if self._stream is None:
            raise LinkDown(f"{self.name} is gone", retry_after=1.0)
        return self._stream

    async def _keep_open(self) -> None:
        while True:
            try:
                self._stream = await self._open()
                self._opened.set()
                await self._read(self._stream)
            except (HecatonError, RayError, OSError, ValueError, TimeoutError) as error:
                self.failure = error
                logger.warning("no link to %s: %s: %s", self.name, type(error).__name__, error)
            except Exception as error:
                # Actor-supervisor border: without its keeper a link would look open, and whoever waits on it wait on.
                self.failure = error
                logger.exception("the link to %s failed", self.name)
                if self._stream is not None:
                    self._stream.abort()
            self._lost()
            if not self._reopen:
                self._opened.set()  # nobody needs to wait for it any more
                return
            await asyncio.sleep(_REOPEN_SECONDS)

    async def _open(self) -> MessageStream:
        host, port, token = await self._find()
        async with asyncio.timeout(_GREETING_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
        plug: socket.socket = writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _PROBES.items():
            plug.setsockopt(socket.IPPROTO_TCP, option, value)
        writer.write(token)
        stream = MessageStream(reader, writer)
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                greeting = await stream.read()
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            stream.abort()
            raise ConnectionError(f"it does not greet ({type(error).__name__})") from error
        self.draining = False
        for message in greeting:
            self._receive(message)
        return stream

    async def _read(self, stream: MessageStream) -> None:
        watching = asyncio.create_task(watch_pulse(stream, beats=self._beats, pings=True))
        try:
            async for batch in stream.batches():
                for message in batch:
                    self._receive(message)
        finally:
            watching.cancel()

    def _receive(self, message: Message) -> None:
        kind, target, *content = message
        if kind == "hello":
            self._takes_traces = TRACES in content
        if kind in ("hello", "pong"):
            return
        if kind == "reply" and len(content) > 1 and (told := self._listeners.get(target)) is not None:
            told(self.name, *content[1])
        if kind == "draining":
            self.draining = True
        if kind not in ("reply", "item"):
            self._on_message(message)
        elif (inbox := self._pending.get(target)) is not None:
            inbox.put_nowait(content[0] if kind == "reply" else message)

    def _lost(self) -> None:
        was_open = self._stream is not None
        self._opened.clear()
        self._stream = None
        for inbox in self._pending.values():
            inbox.put_nowait(Reply(error=LinkLost(f"{self.name} is restarting", retry_after=1.0)))
        if was_open:
            self._on_lost()

    async def close(self) -> None:
        """Hang up; what is under way fails as LinkLost."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._stream is not None:
            self._stream.close()
        self._lost()


def _value(reply: Reply) -> Any:
    if reply.error is not None:
        raise reply.error
    return reply.value
