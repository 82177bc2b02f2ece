"""The owner of sessions as a process serves it: one Harness, and the links of the gateways to it.

It is the same wherever it runs: in a harness actor, or in a monolith's replica beside brains and sandboxes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from actors.database import open_platform_store
from actors.gateway_connection import GatewayConnection
from actors.hand_client import HandClient, linked_hands
from actors.link_server import Endpoint, LinkServer, link_address, no_calls
from actors.metrics_reporter import MetricsReporter
from actors.replies import Reply, reply_of
from actors.tool_servers import tool_servers
from agents.brains.budgets import Budgets
from agents.brains.ceilings import answers_ceiling
from agents.brains.policy import RulePolicy
from agents.brains.port import BrainPools
from agents.brains.registry import registry_of
from agents.brains.release_keeper import ReleaseKeeper
from agents.brains.routing import RoutedBrain
from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.errors import Fenced, Unavailable
from agents.files.filling import FillingBrain
from agents.files.service import open_files
from agents.governance.anomalies.detector import AnomalyDetector
from agents.governance.governed_hands import FollowedHands, governed
from agents.hands.deployed.records import HandRecords
from agents.hands.port import Hands
from agents.hands.servers.cache import CacheCounts
from agents.hands.servers.port import PlacedServers
from agents.hands.toolset import tool_definitions
from agents.sessions.bus import Bus
from agents.sessions.harness import Harness
from agents.sessions.log import Leases
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.sessions.ports import HarnessPorts
from agents.sessions.turn_slots import TurnSlots
from agents.telemetry.harness_metrics import HarnessMetrics
from agents.telemetry.metrics import BRAINS
from agents.telemetry.tracing.process_tracing import ProcessTracing
from agents.vaults.credentials import vault_credentials
from agents.web.definitions import web_definitions
from agents.webhooks.delivery import Webhooks
from agents.webhooks.registered import registered_webhooks

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5

T = TypeVar("T")

_REPLACED = 70  # exit status (EX_SOFTWARE); anything but 0 makes Ray start the actor again, if it is still its own


class SessionService:
    """Owns the share of the partitions that the lease table gives to *name*."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        *,
        pools: BrainPools,
        hands: Hands,
        figures: Callable[[], Mapping[str, Any]],
        metrics: HarnessMetrics,
        slots: TurnSlots | None = None,
        deployed: Callable[[HandRecords], FollowedHands] | None = None,
    ) -> None:
        """*figures* tells what else goes on in this process, beside the harness's own figures: of each brain, at least.

        *slots* are what turns must hold here, if anything. *deployed* is the way to deployed hands, where it is not by
        links.
        """
        self._settings = settings
        self._name = name
        self._pools = pools
        self._hands = hands
        self._more_figures = figures
        self._metrics = metrics
        self._reporter = MetricsReporter(metrics.recorder, "harness")
        self._detector: AnomalyDetector | None = None
        self._webhooks: Webhooks | None = None
        self._slots = slots
        self._deployed = deployed or linked_hands
        self._bus = Bus()
        self._links = LinkServer(lambda stream: GatewayConnection(stream, self._dispatch, self._bus, self._check_owner))
        self._tracing = ProcessTracing(settings, "hecaton-harness", name, on_exceptional=self._keeps_trace)
        self._endpoint: Endpoint | None = None
        self._harness: Harness | None = None
        self._leases: Leases | None = None
        self._releases: ReleaseKeeper | None = None
        self._brain: RoutedBrain | None = None
        self._servers: PlacedServers | None = None
        self._starting: asyncio.Task[Harness] | None = None

    def start(self) -> None:
        """Become a member in the background, however long the store is away; needs a running event loop."""
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())

    async def _start(self) -> Harness:
        settings = self._settings
        prices = PriceBook.load(settings.brain.price_book)
        store = await _patiently(lambda: open_platform_store(settings))
        budgets = Budgets(store.meter, prices, SystemClock(), together=answers_ceiling(settings))
        registry = registry_of(settings)
        releases = self._releases = ReleaseKeeper(registry, store.releases, SystemClock())
        await _patiently(releases.start)
        brain = RoutedBrain(registry, self._pools, RulePolicy(prices), releases=releases.releases, budgets=budgets)
        self._brain = brain
        store.log.watch(self._metrics.wrote)
        hands = self._deployed(store.hands)
        if isinstance(hands, HandClient):
            self._metrics.recorder.collect(hands.tell)
        deployed = governed(hands, store.hand_releases, settings.hands, settings.harness.actors)
        await _patiently(deployed.start)
        credentials = vault_credentials(settings, store.vaults)
        kept = CacheCounts()
        servers = self._servers = tool_servers(settings, credentials, store.hands, prices, hands=deployed, counts=kept)
        detector = self._detector = AnomalyDetector(
            settings, self._metrics.recorder, SystemClock(), self._name, store.audit, store.webhooks
        )
        ports = HarnessPorts(
            settings=settings,
            log=store.log,
            leases=store.leases,
            brain=FillingBrain(brain, open_files(settings, store, SystemClock())),
            hands=self._hands,
            clock=SystemClock(),
            meter=store.meter,
            bus=self._bus,
            prices=prices,
            tool_definitions=lambda: [*tool_definitions(SANDBOX_TOOLS), *web_definitions()],
            metrics=self._metrics,
            observers=[detector.watch],
            slots=self._slots,
            servers=servers,
            hand_cache=kept,
            tracing=self._tracing,
        )
        self._endpoint = await self._links.start(link_address(settings))
        self._leases = store.leases
        harness = self._harness = Harness(ports, owner=self._name, on_replaced=self._replaced)
        detector.watch.own(lambda: harness.running, lambda: harness.inherited)
        detector.start()
        self._webhooks = registered_webhooks(
            settings, store.webhook_registrations, store.webhooks, SystemClock(), self._metrics.recorder
        )
        self._webhooks.start()
        await _patiently(harness.start)
        self._reporter.start()
        return harness

    async def started(self) -> Harness:
        """Return the harness once it is a member and owns what was free for it. Raises what its start raises."""
        self.start()
        assert self._starting is not None
        return await asyncio.shield(self._starting)

    # -- gateways --------------------------------------------------------------------------------

    async def endpoint(self) -> Endpoint:
        """Return where a gateway is to connect and which token to show."""
        await self.started()
        assert self._endpoint is not None
        return self._endpoint

    def _check_owner(self, session_id: str) -> None:
        if self._harness is None:
            raise Fenced(f"{self._name} has just started")
        self._harness.check_owner(session_id)

    async def _dispatch(self, method: str, args: Sequence[Any]) -> Reply:
        """Serve one call of a gateway (the SessionHost port)."""
        harness = await self.started()
        match method, args:
            case "create", (record, initial_events):
                work = harness.create(record, initial_events)
            case "send", (session_id, events, repeat_key, again):
                work = harness.send(session_id, events, repeat_key=repeat_key, again=again)
            case "update", (session_id, changes):
                work = harness.update(session_id, changes)
            case "archive", (session_id,):
                work = harness.archive(session_id)
            case "archive_thread", (session_id, thread_id):
                work = harness.archive_thread(session_id, thread_id)
            case "delete", (session_id,):
                work = harness.delete(session_id)
            case "figures", ():
                return Reply(await self.figures())
            case _:
                return await no_calls(method, args)
        return await reply_of(work)

    async def figures(self) -> dict[str, Any]:
        """Return what goes on here, once the harness is a member."""
        harness = await self.started()
        assert self._brain is not None
        more = dict(self._more_figures())
        by_brain = {brain: figures | self._brain.figures(brain) for brain, figures in more.pop(BRAINS).items()}
        return {**harness.figures, **more, BRAINS: by_brain, "links": self._links.open_links}

    # -- life ------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Hand the partitions over and leave; gateways are served until then, and told where to go."""
        if self._harness is not None:
            await self._harness.stop()
        # At once: whoever has the partitions now does not tell what a member has left that gave them back.
        await self._tracing.close()
        if self._detector is not None:
            await self._detector.stop()
        if self._webhooks is not None:
            await self._webhooks.close()
        await self._reporter.stop()
        if self._releases is not None:
            await self._releases.close()
        if self._servers is not None:
            await self._servers.close()
        await self._links.stop()

    def _keeps_trace(self, trace_id: int) -> None:
        # The gateway's part of the trace is over, and was not chosen either.
        self._links.tell("trace_kept", trace_id)

    async def has_peers(self) -> bool:
        """Whether there are other members, who own what this one has given back; also when the store does not tell."""
        if self._leases is None:
            return False
        try:
            return any(member != self._name for member in (await self._leases.table()).members)
        except Unavailable:
            return True

    def _replaced(self) -> None:
        """End at once: another process has this one's name in the store, and with it all partitions.

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
