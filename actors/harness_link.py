"""The gateway's end of its link to one harness: calls, and the frames of the sessions watched here.

When the link breaks (its harness died or restarted) every call under way fails as Unavailable and every
stream ends, so that clients retry and resume from the log; the link is then opened again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from actors.message_stream import MessageStream
from actors.names import NAMESPACE, harness_name
from actors.replies import Reply, result_of
from agents.config import Settings
from agents.errors import Unavailable
from agents.sessions.bus import Bus, Subscription
from agents.sessions.host import Frame

logger = logging.getLogger(__name__)

_CALL_SECONDS = 30.0
_OPEN_SECONDS = 30.0
_REOPEN_SECONDS = 0.2


class HarnessLink:
    """One gateway's connection to one harness actor."""

    def __init__(self, index: int, settings: Settings) -> None:
        self._name = harness_name(index)
        self._max_frames = settings.gateway.stream_queue_frames
        self._bus = Bus()
        self._watchers: Counter[str] = Counter()
        self._subscriptions: set[Subscription] = set()
        self._numbers = itertools.count()
        self._pending: dict[int, asyncio.Future[Reply]] = {}
        self._stream: MessageStream | None = None
        self._opened = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def call(self, method: str, *args: Any) -> Any:
        """Call the harness. Raises the domain error it answers with, or Unavailable."""
        return await self._ask("call", method, args)

    async def _ask(self, kind: str, *content: Any) -> Any:
        stream = self._stream
        if stream is None or stream.closed:
            stream = await self._connected()
        number = next(self._numbers)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[number] = reply
        stream.send((kind, number, *content))
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                answer = await reply
        except TimeoutError:
            what = f"{self._name} did not answer within {_CALL_SECONDS:g} s"
            raise Unavailable(what, retry_after=1.0) from None
        finally:
            self._pending.pop(number, None)
        if answer.error is not None:
            raise answer.error
        return answer.value

    @asynccontextmanager
    async def watch(self, session_id: str, previews: frozenset[str]) -> AsyncIterator[AsyncIterator[Sequence[Frame]]]:
        """Subscribe to a session's frames; established on entry. Raises Unavailable."""
        subscription = Subscription(previews, max_frames=self._max_frames)
        self._bus.attach(session_id, subscription)
        self._subscriptions.add(subscription)
        self._watchers[session_id] += 1
        try:
            await self._ask("watch", session_id, previews)
            yield aiter(subscription)
        finally:
            self._bus.detach(session_id, subscription)
            self._subscriptions.discard(subscription)
            self._watchers[session_id] -= 1
            if not self._watchers[session_id]:
                del self._watchers[session_id]
                if self._stream is not None:
                    self._stream.send(("unwatch", session_id))

    # -- the connection --------------------------------------------------------------------------

    async def _connected(self) -> MessageStream:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_open())
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            raise Unavailable(f"{self._name} cannot be reached", retry_after=1.0) from None
        assert self._stream is not None
        return self._stream

    async def _keep_open(self) -> None:
        """Keep the link open for as long as this gateway lives."""
        while True:
            try:
                self._stream = await self._open()
                self._opened.set()
                async for batch in self._stream.batches():
                    self._receive(batch)
            except (Unavailable, RayError, OSError, ValueError, TimeoutError) as error:
                logger.warning("no link to %s: %s: %s", self._name, type(error).__name__, error)
            self._lost()
            await asyncio.sleep(_REOPEN_SECONDS)

    async def _open(self) -> MessageStream:
        actor = ray.get_actor(self._name, namespace=NAMESPACE)
        host, port, token = await result_of(actor.endpoint.remote(), what=self._name, timeout=_OPEN_SECONDS)
        async with asyncio.timeout(_OPEN_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
        writer.write(token)
        return MessageStream(reader, writer)

    def _receive(self, batch: list[tuple[Any, ...]]) -> None:
        for kind, target, content in batch:
            if kind == "frames":
                self._bus.publish(target, [Frame.unpacked(packed) for packed in content])
            elif (reply := self._pending.get(target)) is not None and not reply.done():
                reply.set_result(content)

    def _lost(self) -> None:
        self._opened.clear()
        self._stream = None
        gone = Reply(error=Unavailable(f"{self._name} is restarting", retry_after=1.0))
        for reply in self._pending.values():
            if not reply.done():
                reply.set_result(gone)
        for subscription in tuple(self._subscriptions):
            subscription.cut()

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._stream is not None:
            self._stream.close()
