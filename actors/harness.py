"""The harness actor: one Harness, and the server that gateways link to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from actors.brain_client import BrainClient
from actors.database import open_platform_store
from actors.gateway_connection import GatewayConnection
from actors.hands_client import HandsClient
from actors.link_server import Endpoint, LinkServer, link_address
from actors.names import harness_name
from actors.remote import actor
from actors.replies import Reply, reply_of
from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.errors import InvalidRequest
from agents.hands.toolset import tool_definitions
from agents.sessions.bus import Bus
from agents.sessions.harness import Harness
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.sessions.ports import HarnessPorts

logger = logging.getLogger(__name__)

# Actor calls only find, check and stop it; sessions travel over links.
_MAX_CONCURRENCY = 100


@actor(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=_MAX_CONCURRENCY)
class HarnessActor:
    """Owns the partitions ``index, index + actors, ...`` of the session space.

    ``num_cpus=0``: it waits on brains, hands and the store; reserving a CPU would only keep hands out.
    """

    def __init__(self, settings_json: str, index: int) -> None:
        self._settings = Settings.from_json(settings_json)
        self._index = index
        self._bus = Bus()
        self._links = LinkServer(lambda stream: GatewayConnection(stream, self._dispatch, self._bus))
        self._endpoint: Endpoint | None = None
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
            brain=BrainClient(settings),
            hands=HandsClient(settings),
            clock=SystemClock(),
            meter=store.meter,
            bus=self._bus,
            prices=PriceBook.load(settings.brain.price_book),
            tool_definitions=lambda: tool_definitions(SANDBOX_TOOLS),
        )
        harness = Harness(ports, owner=harness_name(self._index))
        await harness.start(range(self._index, settings.harness.partitions, settings.harness.actors))
        self._endpoint = await self._links.start(link_address(settings))
        return harness

    # -- gateways --------------------------------------------------------------------------------

    async def endpoint(self) -> Reply:
        """Tell a gateway where to connect and which token to show."""
        await self._harness()
        assert self._endpoint is not None
        return Reply(self._endpoint)

    async def _dispatch(self, method: str, args: Sequence[Any]) -> Reply:
        """Serve one call of a gateway (the SessionHost port)."""
        harness = await self._harness()
        match method:
            case "create":
                work = harness.create(*args)
            case "send":
                session_id, events, repeat_key, _again = args
                work = harness.send(session_id, events, repeat_key=repeat_key)
            case "update":
                work = harness.update(*args)
            case "archive":
                work = harness.archive(*args)
            case "delete":
                work = harness.delete(*args)
            case "figures":
                return Reply(self._figures(harness))
            case _:
                return Reply(error=InvalidRequest(f"no such call: {method}"))
        return await reply_of(work)

    def _figures(self, harness: Harness) -> dict[str, int]:
        return {"active": harness.active, "cached": harness.cached, "links": self._links.open_links}

    # -- life ------------------------------------------------------------------------------------

    async def ping(self) -> Reply:
        """Answer once the harness owns its partitions."""
        return Reply(self._figures(await self._harness()))

    async def stop(self) -> Reply:
        """Drain and give the partitions back."""
        if self._starting is not None and self._starting.done() and self._starting.exception() is None:
            await self._links.stop()
            await self._starting.result().stop()
        return Reply(True)
