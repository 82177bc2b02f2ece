"""Server-sent events: a session's frames on one connection (spec B.4, B.5).

No event is lost between replay and live: the subscription stands before the log is read, replay runs
up to what is committed, and live frames at or below that position are left out. In the same way a stream
outlives the session's owner: it watches the next one, and sends from the log what it has not shown yet.
Previews under way are dropped then: the half message never existed. The body ends after
``session.deleted`` and ``session.status_terminated``, after which nothing can follow that a client
could act on; a stream opened on a terminated session replays what was asked for and ends at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agents.api.answers import envelope
from agents.api.disconnects import disconnected
from agents.clock import Clock
from agents.errors import HecatonError, NotFound, Overloaded, Unavailable
from agents.ids import SessionId, new_event_id
from agents.sessions.events import Event, EventType
from agents.sessions.host import Frame, SessionHost
from agents.store.ports import EventListing, SessionRepository

_log = logging.getLogger(__name__)

SEND_SECONDS = 60.0
"""A client that takes nothing for so long is gone or stuck; its connection is given up."""
_REPLAY_PAGE = 500
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_KEEP_ALIVE = b": keep-alive\n\n"
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_LAST_TYPES = frozenset({EventType.SESSION_DELETED.value, EventType.SESSION_TERMINATED.value})


def encode_frame(kind: str, data: bytes, event_id: str | None = None) -> bytes:
    """Return one SSE frame; an ``id`` line marks a place in the log that a client can resume from."""
    name = kind.encode()
    if event_id is None:
        return b"event: " + name + b"\ndata: " + data + b"\n\n"
    return b"event: " + name + b"\nid: " + event_id.encode() + b"\ndata: " + data + b"\n\n"


def _event_frame(event: Event) -> bytes:
    return encode_frame(event.type.value, orjson.dumps(event.wire()), event.id)


def _live_frame(frame: Frame) -> bytes:
    return encode_frame(frame.type, frame.data, frame.event_id if frame.seq is not None else None)


class Watch:
    """A session's frames, from whoever owns it: opened again when that one is lost."""

    def __init__(self, host: SessionHost, session_id: SessionId, previews: frozenset[str]) -> None:
        self._host = host
        self._session_id = session_id
        self._previews = previews
        self._held = AsyncExitStack()
        self._frames: AsyncIterator[Sequence[Frame]] | None = None

    async def open(self) -> None:
        """Watch the session's owner, no longer an earlier one; no later event is missed. Raises Unavailable."""
        await self.close()
        watching = self._host.watch(self._session_id, previews=self._previews)
        self._frames = await self._held.enter_async_context(watching)

    @property
    def frames(self) -> AsyncIterator[Sequence[Frame]]:
        """What the owner shows: see ``SessionHost.watch``."""
        assert self._frames is not None, "open comes first"
        return self._frames

    async def close(self) -> None:
        await self._held.aclose()


@dataclass(frozen=True, slots=True)
class StreamSource:
    """What one stream shows.

    *thread* is the one whose events they are; None: the session's own stream. *opened_at* is the log's position
    when the stream was opened. *replay_after* is the position to replay from, None without replay; *live* false ends
    the stream after it.
    """

    session_id: SessionId
    watch: Watch
    opened_at: int
    replay_after: int | None
    live: bool
    thread: str | None = None


class EventStream(Response):
    """The response that streams a session. It owns *held* (slot and subscription) and releases it at the end."""

    def __init__(
        self,
        source: StreamSource,
        sessions: SessionRepository,
        clock: Clock,
        held: AsyncExitStack,
        *,
        keepalive_seconds: float,
        patience_seconds: float,
        request_id: str,
        lapses: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """*lapses* returns when whoever reads may read no more; None: that does not happen."""
        self._source = source
        self._sessions = sessions
        self._clock = clock
        self._held = held
        self._keepalive_seconds = keepalive_seconds
        self._patience_seconds = patience_seconds
        self._request_id = request_id
        self._lapses = lapses
        self._last_sent = clock.monotonic()
        # Live frames at or below `shown` were sent from the log. Behind `reached` lies what a client may not have seen.
        self._shown: int = 0
        self._reached: int = source.opened_at if source.replay_after is None else source.replay_after
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)})
            # The headers must reach the client before the first event exists: a body part carries them out.
            await self._send(send, b": open\n\n")
            writing = asyncio.create_task(self._write(send))
            others = [asyncio.create_task(self._keep_alive(send)), asyncio.create_task(disconnected(receive))]
            lapse = None if self._lapses is None else asyncio.ensure_future(self._lapses())
            others += [] if lapse is None else [lapse]
            try:
                await asyncio.wait([writing, *others], return_when=asyncio.FIRST_COMPLETED)
                finished = writing.done()
                lapse_ended = lapse is not None and lapse.done()
            finally:
                for task in (writing, *others):
                    task.cancel()
                await asyncio.gather(writing, *others, return_exceptions=True)
            if lapse_ended or (finished and not writing.cancelled() and writing.exception() is None):
                await self._send(send, b"", more=False)

    async def _send(self, send: Send, chunk: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
        self._last_sent = self._clock.monotonic()

    async def _write(self, send: Send) -> None:
        try:
            ended = self._source.replay_after is not None and await self._replay(send)
            while self._source.live and not ended:
                ended = await self._follow(send) or await self._catch_up(send)
        except OSError as error:
            # A send that timed out (TimeoutError is one) or failed: nobody reads any more.
            _log.info("a stream of %s was given up: %r", self._source.session_id, error)
            raise
        except HecatonError as error:
            await self._send_error(send, error)
        except Exception:
            _log.exception("a stream of %s failed (%s)", self._source.session_id, self._request_id)
            await self._send_error(send, HecatonError("an internal error occurred; reconnect"))

    async def _send_error(self, send: Send, error: HecatonError) -> None:
        """Tell the client to reconnect (spec B.5): the status line is long gone."""
        await self._send(send, encode_frame("error", orjson.dumps(envelope(error, self._request_id))))

    async def _replay(self, send: Send) -> bool:
        """Send what the log has beyond what was reached; returns whether that ends the stream."""
        more = True
        while more:
            listing = EventListing(limit=_REPLAY_PAGE, after=self._reached, thread=self._source.thread)
            found = await self._sessions.events(self._source.session_id, listing)
            logged = [event for event in found if event.seq is not None]
            if logged:
                await self._send(send, b"".join(_event_frame(event) for event in logged))
                self._reached = logged[-1].seq or self._reached
            if any(event.type.value in _LAST_TYPES for event in logged):
                return True
            more = len(found) > _REPLAY_PAGE and bool(logged)
        self._shown = self._reached
        return False

    async def _follow(self, send: Send) -> bool:
        """Send what the owner shows; returns true at the session's end, and false when the owner is lost.

        Raises Overloaded when the client is too slow.
        """
        try:
            async for frames in self._source.watch.frames:
                fresh = [frame for frame in frames if frame.seq is None or frame.seq > self._shown]
                shown = [frame for frame in fresh if frame.shown_in(self._source.thread)]
                if shown:
                    await self._send(send, b"".join(_live_frame(frame) for frame in shown))
                self._reached = max((frame.seq for frame in fresh if frame.seq is not None), default=self._reached)
                if any(frame.ends or frame.type in _LAST_TYPES for frame in fresh):
                    return True
        except Unavailable:
            return False
        raise Overloaded("this stream fell behind; reconnect to go on")

    async def _catch_up(self, send: Send) -> bool:
        """Watch the next owner and send what was missed; returns whether that ends the stream.

        Raises Unavailable when there is no owner, or no log to read, in time.
        """
        deadline, pause = self._clock.monotonic() + self._patience_seconds, _FIRST_PAUSE_SECONDS
        while True:
            # All streams of a lost owner come here at once.
            await self._clock.sleep(pause * random.uniform(0.2, 1.0))  # noqa: S311 - spreads them, hides nothing
            try:
                await self._source.watch.open()
                return await self._replay(send)
            except Unavailable:
                if self._clock.monotonic() >= deadline:
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            except NotFound:
                # Deleted while nobody was there to say so.
                await self._send(send, _event_frame(_deleted(self._clock)))
                return True

    async def _keep_alive(self, send: Send) -> None:
        while True:
            idle = self._clock.monotonic() - self._last_sent
            if idle >= self._keepalive_seconds:
                await self._send(send, _KEEP_ALIVE)
                idle = 0.0
            await self._clock.sleep(self._keepalive_seconds - idle)


def _deleted(clock: Clock) -> Event:
    return Event(new_event_id(), EventType.SESSION_DELETED, {}, clock.now())
