"""The gateway's SessionHost: finds the owning harness, and shares one frame channel per harness.

Frames reach local subscriptions through a local Bus. When a channel breaks (its harness died or
restarted) every stream on it is ended, so that clients reconnect and resume from the log.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ray.exceptions import RayError

from actors.harness import get_harness
from actors.replies import result_of
from agents.config import Settings
from agents.errors import Unavailable
from agents.ids import SessionId, new_id
from agents.sessions.bus import Bus, Subscription
from agents.sessions.events import SessionRecord
from agents.sessions.host import Frame
from agents.sessions.partition import partition_of

logger = logging.getLogger(__name__)

_CALL_SECONDS = 30.0
_OPEN_SECONDS = 30.0
_REOPEN_SECONDS = 0.2


class HarnessLink:
    """One gateway's connection to one harness actor."""

    def __init__(self, index: int, settings: Settings) -> None:
        self._index = index
        self._settings = settings
        self._gateway_id = new_id("gw")
        self._bus = Bus()
        self._streams: Counter[str] = Counter()
        self._subscriptions: set[Subscription] = set()
        self._open = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._handle: Any = None

    def handle(self) -> Any:
        if self._handle is None:
            try:
                self._handle = get_harness(self._index)
            except ValueError as error:
                raise Unavailable(f"harness {self._index} does not exist yet", retry_after=1.0) from error
        return self._handle

    async def call(self, method: str, *args: Any) -> Any:
        ref = getattr(self.handle(), method).remote(*args)
        return await result_of(ref, what=f"harness {self._index}", timeout=_CALL_SECONDS)

    async def _read(self) -> None:
        """Keep the channel open for as long as this gateway lives."""
        while True:
            try:
                stream = self.handle().channel.options(num_returns="streaming").remote(self._gateway_id)
                async for ref in stream:
                    for session_id, frames in pickle.loads(await ref):  # noqa: S301 - written by our own actor
                        self._bus.publish(session_id, frames)
                    self._open.set()
            except (RayError, Unavailable) as error:
                logger.warning("channel to harness %d broke: %s", self._index, type(error).__name__)
            self._open.clear()
            for subscription in tuple(self._subscriptions):
                subscription.lagged = True
                subscription.close()
            await asyncio.sleep(_REOPEN_SECONDS)

    async def _opened(self) -> None:
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await self._open.wait()
        except TimeoutError:
            raise Unavailable(f"harness {self._index} sends no events", retry_after=1.0) from None

    @asynccontextmanager
    async def watch(self, session_id: str, previews: frozenset[str]) -> AsyncIterator[AsyncIterator[Frame]]:
        await self._opened()
        subscription = Subscription(previews, max_frames=self._settings.gateway.stream_queue_frames)
        self._bus.attach(session_id, subscription)
        self._subscriptions.add(subscription)
        self._streams[session_id] += 1
        try:
            if not await self.call("watch", self._gateway_id, session_id, previews):
                raise Unavailable("the event channel is being reopened", retry_after=0.5)
            yield aiter(subscription)
        finally:
            self._bus.detach(session_id, subscription)
            self._subscriptions.discard(subscription)
            self._streams[session_id] -= 1
            if not self._streams[session_id]:
                del self._streams[session_id]
                # Fire and forget: frames of a session that nobody here watches are dropped anyway.
                self.handle().unwatch.remote(self._gateway_id, session_id)

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)


class SessionClient:
    """SessionHost over harness actors."""

    def __init__(self, settings: Settings) -> None:
        self._partitions = settings.harness.partitions
        self.links = [HarnessLink(index, settings) for index in range(settings.harness.actors)]

    def _link(self, session_id: str) -> HarnessLink:
        return self.links[partition_of(session_id, self._partitions) % len(self.links)]

    async def create(self, record: SessionRecord, initial_events: Sequence[dict[str, Any]]) -> SessionRecord:
        return await self._link(record.id).call("create", record, list(initial_events))

    async def send(
        self, session_id: SessionId, events: Sequence[dict[str, Any]], *, repeat_key: str | None = None
    ) -> list[dict[str, Any]]:
        return await self._link(session_id).call("send", session_id, list(events), repeat_key)

    async def update(self, session_id: SessionId, changes: dict[str, Any]) -> SessionRecord:
        return await self._link(session_id).call("update", session_id, changes)

    async def archive(self, session_id: SessionId) -> SessionRecord:
        return await self._link(session_id).call("archive", session_id)

    async def delete(self, session_id: SessionId) -> None:
        await self._link(session_id).call("delete", session_id)

    def watch(self, session_id: SessionId, *, previews: frozenset[str]) -> Any:
        return self._link(session_id).watch(session_id, previews)

    async def ping(self) -> list[dict[str, int]]:
        """Return each harness's figures. Raises Unavailable when one does not answer."""
        return list(await asyncio.gather(*(link.call("ping") for link in self.links)))

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self.links))
