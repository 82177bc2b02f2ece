"""The harness actor: one Harness, and one multiplexed frame channel per gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import ray

from actors.brain_client import BrainClient
from actors.channel import GatewayChannel
from actors.database import open_platform_store
from actors.hands_client import HandsClient
from actors.names import NAMESPACE, harness_name
from actors.replies import Reply, reply_of
from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.hands.toolset import tool_definitions
from agents.ids import SessionId
from agents.sessions.bus import Bus
from agents.sessions.events import SessionRecord
from agents.sessions.harness import Harness
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.sessions.ports import HarnessPorts

logger = logging.getLogger(__name__)

# Calls wait on commits and streams of frames, not on CPU; each gateway holds one for its channel.
_MAX_CONCURRENCY = 2000


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=_MAX_CONCURRENCY)
class HarnessActor:
    """Owns the partitions ``index, index + actors, ...`` of the session space.

    ``num_cpus=0``: it waits on brains, hands and the store; reserving a CPU would only keep hands out.
    """

    def __init__(self, settings_json: str, index: int) -> None:
        self._settings = Settings.from_json(settings_json)
        self._index = index
        self._bus = Bus()
        self._channels: dict[str, GatewayChannel] = {}
        self._starting: asyncio.Task[Harness] | None = None

    async def _harness(self) -> Harness:
        # Ray restarts an actor by its constructor alone, so the first call of any kind starts it.
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Harness:
        settings = self._settings
        store = await open_platform_store(settings)
        ports = HarnessPorts(
            settings=settings,
            log=store.log,
            leases=store.leases,
            brain=BrainClient(),
            hands=HandsClient(settings),
            clock=SystemClock(),
            meter=store.meter,
            bus=self._bus,
            prices=PriceBook.load(settings.brain.price_book),
            tool_definitions=lambda: tool_definitions(SANDBOX_TOOLS),
        )
        harness = Harness(ports, owner=harness_name(self._index))
        await harness.start(range(self._index, settings.harness.partitions, settings.harness.actors))
        return harness

    # -- SessionHost over RPC --------------------------------------------------------------------

    async def create(self, record: SessionRecord, initial_events: Sequence[dict[str, Any]]) -> Reply:
        return await reply_of((await self._harness()).create(record, initial_events))

    async def send(self, session_id: SessionId, events: Sequence[dict[str, Any]], repeat_key: str | None) -> Reply:
        return await reply_of((await self._harness()).send(session_id, events, repeat_key=repeat_key))

    async def update(self, session_id: SessionId, changes: dict[str, Any]) -> Reply:
        return await reply_of((await self._harness()).update(session_id, changes))

    async def archive(self, session_id: SessionId) -> Reply:
        return await reply_of((await self._harness()).archive(session_id))

    async def delete(self, session_id: SessionId) -> Reply:
        return await reply_of((await self._harness()).delete(session_id))

    # -- frames ----------------------------------------------------------------------------------

    async def watch(self, gateway_id: str, session_id: str, previews: frozenset[str]) -> Reply:
        """Let frames of a session flow into a gateway's channel; no later frame is missed."""
        channel = self._channels.get(gateway_id)
        if channel is None:
            return Reply(False)
        channel.watch(self._bus, session_id, previews)
        return Reply(True)

    async def unwatch(self, gateway_id: str, session_id: str) -> Reply:
        channel = self._channels.get(gateway_id)
        if channel is not None:
            channel.unwatch(self._bus, session_id)
        return Reply(True)

    async def channel(self, gateway_id: str) -> AsyncIterator[bytes]:
        """Stream batches of frames to one gateway; the first, empty batch says that it is open."""
        await self._harness()
        previous = self._channels.pop(gateway_id, None)
        if previous is not None:
            previous.close(self._bus)
        channel = self._channels[gateway_id] = GatewayChannel()
        try:
            async for batch in channel.batches():
                yield batch
        finally:
            channel.close(self._bus)
            if self._channels.get(gateway_id) is channel:
                del self._channels[gateway_id]

    # -- life ------------------------------------------------------------------------------------

    async def ping(self) -> Reply:
        """Answer once the harness owns its partitions."""
        harness = await self._harness()
        return Reply({"active": harness.active, "cached": harness.cached, "channels": len(self._channels)})

    async def stop(self) -> Reply:
        """Drain and give the partitions back."""
        if self._starting is not None and self._starting.done() and self._starting.exception() is None:
            await self._starting.result().stop()
        return Reply(True)


def get_harness(index: int) -> Any:
    """Return the handle of a harness actor. Raises ValueError when there is none."""
    return ray.get_actor(harness_name(index), namespace=NAMESPACE)
