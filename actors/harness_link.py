"""The gateway's end of its link to one harness: calls, and the frames of the sessions watched here.

Calls and watched sessions belong to partitions. When the harness is lost, or no longer owns a partition,
the calls under way fail as LinkLost and the subscriptions are severed: whoever waits asks the next owner.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import ray

from actors.fleet_client import ask_fleet
from actors.link_client import LinkClient
from actors.link_server import Endpoint
from actors.message_stream import Message
from actors.names import NAMESPACE, harness_index
from actors.replies import result_of
from agents.config import Settings
from agents.sessions.bus import Bus, Subscription
from agents.sessions.host import THREADS, Frame

_CALL_SECONDS = 30.0
_FIND_SECONDS = 10.0
# Not longer: meanwhile the partition may have got another owner, who can be asked at once.
_OPEN_SECONDS = 1.0


class HarnessLink:
    """One gateway's connection to the harness of a name, whichever process that is just now."""

    def __init__(self, name: str, settings: Settings, *, on_trace: Callable[[int], None] = lambda _: None) -> None:
        """*on_trace* hears of traces that the harness keeps though they were not chosen."""
        self.name = name
        self._on_trace = on_trace
        self._gateway = settings.gateway
        self._bus = Bus()
        self._watchers: Counter[str] = Counter()
        self._subscriptions: dict[Subscription, tuple[str, int]] = {}
        self._link = LinkClient(
            name, self._find, on_message=self._received, on_lost=self._lost, open_seconds=_OPEN_SECONDS
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nobody watches."""
        return not (self._link.under_way or self._subscriptions)

    async def _find(self) -> Endpoint:
        if harness_index(self.name) is None:
            # A monolith's replica: Serve has named its process.
            return await ask_fleet("sessions", self.name, timeout=_FIND_SECONDS)
        actor = await asyncio.to_thread(ray.get_actor, self.name, namespace=NAMESPACE)
        return await result_of(actor.endpoint.remote(), what=self.name, timeout=_FIND_SECONDS)

    async def call(self, partition: int, method: str, *args: Any) -> Any:
        """Call the harness. Raises the domain error it answers with, LinkLost or LinkDown."""
        return await self._link.call("call", method, args, timeout=_CALL_SECONDS, topic=partition)

    async def figures(self, *, timeout: float) -> dict[str, Any]:
        """Ask the harness how it does. Raises Unavailable."""
        return await self._link.call("call", "figures", (), timeout=timeout)

    @asynccontextmanager
    async def watch(
        self, partition: int, session_id: str, previews: frozenset[str]
    ) -> AsyncIterator[AsyncIterator[Sequence[Frame]]]:
        """Subscribe to a session's frames; established on entry. Raises Fenced, LinkLost or LinkDown."""
        limits = self._gateway
        subscription = Subscription(
            previews, max_frames=limits.stream_queue_frames, max_bytes=limits.stream_queue_bytes
        )
        self._bus.attach(session_id, subscription)
        self._subscriptions[subscription] = (session_id, partition)
        self._watchers[session_id] += 1
        try:
            await self._link.call("watch", session_id, previews | {THREADS}, timeout=_CALL_SECONDS, topic=partition)
            yield aiter(subscription)
        finally:
            self._bus.detach(session_id, subscription)
            del self._subscriptions[subscription]
            self._watchers[session_id] -= 1
            if not self._watchers[session_id]:
                del self._watchers[session_id]
                self._link.post("unwatch", session_id)

    def cut(self, lost: Callable[[int], bool]) -> None:
        """Expect nothing more of this harness about the partitions that are *lost*: another one owns them."""
        self._link.cut(lost)
        for subscription, (_, partition) in tuple(self._subscriptions.items()):
            if lost(partition):
                subscription.sever()

    def _received(self, message: Message) -> None:
        match message:
            case ("frames", str(session_id), packed):
                self._bus.publish(session_id, [Frame.unpacked(each) for each in packed])
            case ("moved", str(session_id)):
                self._sever(session_id)
            case ("trace_kept", int(trace_id)):
                self._on_trace(trace_id)
            case _:
                pass  # a later version of the harness says more than this gateway knows

    def _sever(self, session_id: str) -> None:
        for subscription, (watched, _) in tuple(self._subscriptions.items()):
            if watched == session_id:
                subscription.sever()

    def _lost(self) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.sever()

    async def close(self) -> None:
        await self._link.close()
