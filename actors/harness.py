"""The harness actor: one Harness, and the server that gateways link to."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from actors.brain_client import BrainClient
from actors.database import open_platform_store
from actors.gateway_connection import GatewayConnection
from actors.hands_client import HandsClient
from actors.link_server import Endpoint, LinkServer, link_address
from actors.names import harness_name
from actors.placement import HARDLY_A_CPU
from actors.remote import actor
from actors.replies import Reply, reply_of
from agents.brains.policy import RulePolicy
from agents.brains.registry import registry_of
from agents.brains.routing import RoutedBrain
from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.errors import Fenced, InvalidRequest, Unavailable
from agents.hands.toolset import tool_definitions
from agents.sessions.bus import Bus
from agents.sessions.harness import Harness
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.sessions.ports import HarnessPorts
from agents.telemetry.metrics import BRAINS

logger = logging.getLogger(__name__)

# Actor calls only find, check and stop it; sessions travel over links.
_MAX_CONCURRENCY = 100
_RETRY_SECONDS = 0.5

T = TypeVar("T")

_REPLACED = 70  # exit status (EX_SOFTWARE); anything but 0 makes Ray start the actor again, if it is still its own


@actor(num_cpus=HARDLY_A_CPU, max_restarts=-1, max_task_retries=0, max_concurrency=_MAX_CONCURRENCY)
class HarnessActor:
    """Owns its share of the partitions; which ones, the lease table says.

    It waits on brains, hands and the store: reserving a CPU would only keep hands out.
    """

    def __init__(self, settings_json: str, index: int) -> None:
        self._settings = Settings.from_json(settings_json)
        self._name = harness_name(index)
        self._bus = Bus()
        self._brains = BrainClient(self._settings)
        self._links = LinkServer(lambda stream: GatewayConnection(stream, self._dispatch, self._bus, self._check_owner))
        self._endpoint: Endpoint | None = None
        self._harness: Harness | None = None
        # Ray starts an actor again by its constructor alone, and its sessions must not wait for somebody to ask.
        self._starting = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> Harness:
        settings = self._settings
        self._brains.start()
        prices = PriceBook.load(settings.brain.price_book)
        store = await _patiently(lambda: open_platform_store(settings))
        ports = HarnessPorts(
            settings=settings,
            log=store.log,
            leases=store.leases,
            brain=RoutedBrain(registry_of(settings), self._brains, RulePolicy(prices)),
            hands=HandsClient(settings),
            clock=SystemClock(),
            meter=store.meter,
            bus=self._bus,
            prices=prices,
            tool_definitions=lambda: tool_definitions(SANDBOX_TOOLS),
        )
        self._endpoint = await self._links.start(link_address(settings))
        harness = self._harness = Harness(ports, owner=self._name, on_replaced=self._replaced)
        await _patiently(harness.start)
        return harness

    async def _started(self) -> Harness:
        if self._starting.done() and self._starting.exception() is not None:
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    # -- gateways --------------------------------------------------------------------------------

    async def endpoint(self) -> Reply:
        """Tell a gateway where to connect and which token to show."""
        await self._started()
        assert self._endpoint is not None
        return Reply(self._endpoint)

    def _check_owner(self, session_id: str) -> None:
        if self._harness is None:
            raise Fenced(f"{self._name} has just started")
        self._harness.check_owner(session_id)

    async def _dispatch(self, method: str, args: Sequence[Any]) -> Reply:
        """Serve one call of a gateway (the SessionHost port)."""
        harness = await self._started()
        match method, args:
            case "create", (record, initial_events):
                work = harness.create(record, initial_events)
            case "send", (session_id, events, repeat_key, again):
                work = harness.send(session_id, events, repeat_key=repeat_key, again=again)
            case "update", (session_id, changes):
                work = harness.update(session_id, changes)
            case "archive", (session_id,):
                work = harness.archive(session_id)
            case "delete", (session_id,):
                work = harness.delete(session_id)
            case "figures", ():
                return Reply(self._figures(harness))
            case _:
                return Reply(error=InvalidRequest(f"no such call: {method}"))
        return await reply_of(work)

    def _figures(self, harness: Harness) -> dict[str, Any]:
        brains = {BRAINS: self._brains.figures_by_brain}
        return {**harness.figures, **self._brains.figures, **brains, "links": self._links.open_links}

    # -- life ------------------------------------------------------------------------------------

    async def ping(self) -> Reply:
        """Answer once the harness is a member and owns what was free for it."""
        return Reply(self._figures(await self._started()))

    async def stop(self) -> Reply:
        """Hand the partitions over and leave; gateways are served until then, and told where to go."""
        if self._harness is not None:
            await self._harness.stop()
        await self._links.stop()
        return Reply(True)

    def _replaced(self) -> None:
        """End at once: another process has this actor's name in the store, and with it all partitions.

        Ray starts an actor again only while it counts it as the one of its name; then the next process joins
        anew. One that was given up for dead (its node was cut off, or frozen) stays away.
        """
        logger.critical("%s is ended: a later process has its name", self._name)
        os._exit(_REPLACED)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do *work*, again and again while the store is away."""
    while True:
        try:
            return await work()
        except Unavailable as error:
            logger.warning("the store does not answer yet: %s", error.message)
        await asyncio.sleep(_RETRY_SECONDS)
