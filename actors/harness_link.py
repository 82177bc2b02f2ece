"""The gateway's end of its link to one harness: calls, and the frames of the sessions watched here.

When the link breaks (its harness died or restarted) every stream ends, so that clients reconnect and
resume from the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import ray

from actors.link_client import LinkClient
from actors.link_server import Endpoint
from actors.message_stream import Message
from actors.names import NAMESPACE, harness_name
from actors.replies import result_of
from agents.config import Settings
from agents.sessions.bus import Bus, Subscription
from agents.sessions.host import Frame

_CALL_SECONDS = 30.0


class HarnessLink:
    """One gateway's connection to one harness actor."""

    def __init__(self, index: int, settings: Settings) -> None:
        self._name = harness_name(index)
        self._max_frames = settings.gateway.stream_queue_frames
        self._bus = Bus()
        self._watchers: Counter[str] = Counter()
        self._subscriptions: set[Subscription] = set()
        self._link = LinkClient(self._name, self._find, on_message=self._frames, on_lost=self._lost)

    async def _find(self) -> Endpoint:
        actor = ray.get_actor(self._name, namespace=NAMESPACE)
        return await result_of(actor.endpoint.remote(), what=self._name, timeout=_CALL_SECONDS)

    async def call(self, method: str, *args: Any) -> Any:
        """Call the harness. Raises the domain error it answers with, or Unavailable."""
        return await self._link.call("call", method, args, timeout=_CALL_SECONDS)

    @asynccontextmanager
    async def watch(self, session_id: str, previews: frozenset[str]) -> AsyncIterator[AsyncIterator[Sequence[Frame]]]:
        """Subscribe to a session's frames; established on entry. Raises Unavailable."""
        subscription = Subscription(previews, max_frames=self._max_frames)
        self._bus.attach(session_id, subscription)
        self._subscriptions.add(subscription)
        self._watchers[session_id] += 1
        try:
            await self._link.call("watch", session_id, previews, timeout=_CALL_SECONDS)
            yield aiter(subscription)
        finally:
            self._bus.detach(session_id, subscription)
            self._subscriptions.discard(subscription)
            self._watchers[session_id] -= 1
            if not self._watchers[session_id]:
                del self._watchers[session_id]
                self._link.post("unwatch", session_id)

    def _frames(self, message: Message) -> None:
        _, session_id, packed = message
        self._bus.publish(session_id, [Frame.unpacked(each) for each in packed])

    def _lost(self) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.close()

    async def close(self) -> None:
        await self._link.close()
