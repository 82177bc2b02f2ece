"""The monolith as a Serve deployment: brains, owner of sessions and sandbox host in one replica (docs/adr/0018).

The parts are the same as in processes of their own; only what is between them is a call instead of a link. A turn holds
one of the replica's slots from its first model request until it ends, tools included. Serve places, checks and replaces
the replicas; which sessions are whose, the lease table says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any

from ray import serve
from ray.serve.api import RunTarget

from actors.announcing import Announcement
from actors.bootstrap import ensure_fleet
from actors.brain_context import WHOLE
from actors.brain_load import ReplicaLoad
from actors.coalesce import in_batches
from actors.fleet_client import ask_fleet
from actors.hand_calls import hand_links
from actors.hands_client import HandsClient
from actors.host_calls import host_report, host_server
from actors.late_credentials import LateCredentials
from actors.late_outputs import LateOutputs
from actors.late_repositories import LateRepositories
from actors.late_store import LateStore
from actors.link_server import LinkServer, link_address, no_calls
from actors.names import MONOLITH_APP
from actors.placement import HANDS_CPUS
from actors.replica_options import LEAVE_SECONDS, replica_options
from actors.replies import Reply, reply_of
from actors.session_service import SessionService
from agents.brain_settings import BrainResources
from agents.brains.local_pools import LocalPools, local_pools
from agents.brains.port import BrainRequest
from agents.brains.registry import registry_of
from agents.brains.together import places_together, resources_together
from agents.config import Settings
from agents.errors import HecatonError, InvalidRequest, Unavailable
from agents.hands.announced_hosts import ANNOUNCE_SECONDS
from agents.hands.configured_host import host_of
from agents.hands.deployed.local_hands import LocalHands
from agents.hands.deployed.records import HandRecords
from agents.hands.deployed.running_hand import RunningHand
from agents.hands.host import LINGER_SECONDS, SandboxHost
from agents.hands.incarnation import host_root
from agents.hands.near_hands import NearHands
from agents.seat import MONOLITH, Seat
from agents.sessions.turn_slots import TurnSlots
from agents.telemetry.gpu_seconds import tell_gpu_seconds
from agents.telemetry.harness_metrics import HarnessMetrics
from agents.telemetry.metrics import BRAINS, all_brains
from agents.vault import SettingsVault

logger = logging.getLogger(__name__)

_ANNOUNCE_SECONDS = 10.0


@serve.deployment(name="monolith")
class MonolithServer:
    """Owns sessions, thinks about them and runs their tools, in one process."""

    async def __init__(self, settings_json: str) -> None:
        """Raises EngineUnusable or InvalidRequest, which Serve shows as the reason why there is no replica."""
        settings = self._settings = Settings.from_json(settings_json)
        registry = registry_of(settings)
        self._ending = AsyncExitStack()
        self._pools = await self._ending.enter_async_context(local_pools(registry, settings, SettingsVault(settings)))
        self._slots = TurnSlots(settings.monolith.turns or places_together(registry.brains), settings.brain)
        self._seat = Seat(settings.data_dir / "run" / "seats", MONOLITH)
        name = self._name = self._seat.name
        self._store = LateStore(settings)
        metrics = HarnessMetrics.of(settings)
        metrics.recorder.collect(partial(tell_gpu_seconds, registry.brains, time.monotonic()))
        root = host_root(settings, name)
        self._host = host_of(
            settings,
            root,
            name=name,
            credentials=LateCredentials(self._store),
            repositories=LateRepositories(self._store),
            recorder=metrics.recorder,
            outputs=LateOutputs(self._store),
            memory=self._store.memory,
        )
        await self._host.start()
        self._sessions = SessionService(
            settings,
            name,
            pools=self._pools,
            hands=NearHands(self._host, HandsClient(settings)),
            figures=self._figures,
            metrics=metrics,
            slots=self._slots,
            deployed=self._hands_of,
        )
        self._host_links = host_server(self._own_host)
        self._local_hands: LocalHands | None = None
        # Their number does not follow their load here.
        self._hand_links = hand_links(self._hand, ReplicaLoad())
        self._brain_links = {brain.id: _brain_server(brain.id, self._pools, self._slots) for brain in registry.brains}
        await self._listen()

    async def _own_host(self) -> SandboxHost:
        return self._host

    def _hands_of(self, records: HandRecords) -> LocalHands:
        """Run the deployed hands in this process, too."""
        hands = self._local_hands = LocalHands(records, self._settings.data_dir / "run" / "hands")
        hands.start()
        return hands

    async def _hand(self, hand: str) -> RunningHand:
        if self._local_hands is None:
            raise Unavailable("this replica is starting", retry_after=1.0)
        return await self._local_hands.find(hand)

    def _figures(self) -> dict[str, Any]:
        """The same as a harness tells of the brains that it asks, and of the slots."""
        by_brain = self._pools.figures_by_brain
        return {**all_brains(by_brain), **self._slots.figures, BRAINS: by_brain}

    # -- being found -----------------------------------------------------------------------------

    async def _listen(self) -> None:
        address = link_address(self._settings)
        self._host_endpoint = await self._host_links.start(address)
        self._hands_endpoint = await self._hand_links.start(address)
        self._brain_endpoints = {brain: await links.start(address) for brain, links in self._brain_links.items()}
        self._sessions_endpoint = await self._sessions.endpoint()
        ensure_fleet(self._settings)
        await self._announce()
        self._announcing = asyncio.create_task(self._keep_announced())

    def _announcement(self) -> Announcement:
        host = host_report(self._host, self._host_endpoint)
        known = () if self._local_hands is None else self._local_hands.registry.hands
        hands = dict.fromkeys(known, self._hands_endpoint)
        return Announcement(self._name, self._sessions_endpoint, host, self._brain_endpoints, hands)

    async def _announce(self) -> None:
        try:
            await ask_fleet("announce", self._announcement(), timeout=_ANNOUNCE_SECONDS)
        except HecatonError as error:
            # No reason to load a model anew: the next time is in a moment.
            logger.warning("the fleet does not answer: %s", error)

    async def _keep_announced(self) -> None:
        while True:
            await asyncio.sleep(ANNOUNCE_SECONDS)
            await self._announce()

    # -- life ------------------------------------------------------------------------------------

    def check_health(self) -> None:
        """Called by Serve; raises RuntimeError or EngineUnusable when this replica must be replaced."""
        if self._announcing.done():
            raise RuntimeError("the replica no longer tells the fleet where it is")
        self._pools.check()

    async def __del__(self) -> None:
        """Called by Serve before it ends the replica: hand the sessions over, let what is under way end, leave."""
        drain_seconds = self._settings.harness.drain_seconds
        await asyncio.gather(
            self._sessions.stop(),
            self._hand_links.drain(drain_seconds),
            *(links.drain(drain_seconds) for links in self._brain_links.values()),
        )
        if await self._sessions.has_peers():
            await self._drain_host(drain_seconds + LINGER_SECONDS)
        self._announcing.cancel()
        try:
            await ask_fleet("withdraw", self._announcement(), timeout=LEAVE_SECONDS)
        except HecatonError as error:
            logger.warning("the fleet is not told that this replica ends: %s", error)
        for links in (self._host_links, self._hand_links, *self._brain_links.values()):
            await links.stop()
        await self._host.stop()
        await self._store.close()
        await self._ending.aclose()
        self._seat.release()

    async def _drain_host(self, seconds: float) -> None:
        """A session's new owner may ask for a call that goes on here, has just ended, or was meant for here."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(self._host.drain(), asyncio.sleep(LINGER_SECONDS))
        except TimeoutError:
            logger.warning("tool calls were still under way after %g s of draining", seconds)


def _brain_server(brain: str, pools: LocalPools, slots: TurnSlots) -> LinkServer:
    """Return the server of one brain for what clients ask it without a session."""
    requests = _DirectRequests(brain, pools, slots)
    load = ReplicaLoad()  # callers tell theirs; the number of replicas does not follow it here
    return LinkServer(lambda stream: load.connect(stream, requests.call, requests.stream))


class _DirectRequests:
    """Model requests that no session makes: each is a turn of its own."""

    def __init__(self, brain: str, pools: LocalPools, slots: TurnSlots) -> None:
        self._brain = brain
        self._pools = pools
        self._slots = slots

    async def call(self, method: str, args: Sequence[Any]) -> Reply:
        match method, args:
            case "count_tokens", (request,):
                return await reply_of(self._pools.count_tokens(self._brain, request))
            case "figures", ():
                return Reply(self._pools.engine_figures(self._brain))
            case _:
                return await no_calls(method, args)

    async def stream(self, method: str, args: Sequence[Any]) -> AsyncGenerator[list[dict[str, Any]], None]:
        if method != WHOLE:
            raise InvalidRequest(f"no such stream: {method}")
        request: BrainRequest = args[0]
        async with self._slots.slot(request.principal):
            events = self._pools.think(self._brain, request)
            async with aclosing(in_batches(events, live=request.live)) as batches:
                async for batch in batches:
                    yield batch


def monolith_app(settings: Settings) -> serve.Application:
    """Bind the deployment. Blocks for a moment: it asks Ray for its nodes. Raises InvalidRequest."""
    brains = registry_of(settings).brains
    resources = _with_hands(resources_together(brains))
    # Sessions and direct requests drain first, then the sandbox host.
    drain_seconds = 2 * settings.harness.drain_seconds + LINGER_SECONDS
    options: dict[str, Any] = {
        "num_replicas": settings.monolith.replicas,
        **replica_options(resources, [brain.definition for brain in brains], drain_seconds=drain_seconds),
    }
    return MonolithServer.options(**options).bind(settings.to_json())


def _with_hands(resources: BrainResources) -> BrainResources:
    """Add what sandbox hosts reserve in processes of their own."""
    more = HANDS_CPUS / resources.tensor_parallel
    return resources.model_copy(update={"num_cpus": resources.num_cpus + more})


def monolith_targets(settings: Settings) -> list[RunTarget]:
    """Return what Serve is to run besides the gateway."""
    return [RunTarget(monolith_app(settings), name=MONOLITH_APP, route_prefix=None)]
