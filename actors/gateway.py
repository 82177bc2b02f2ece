"""The gateway deployment: the HTTP edge as a Serve ingress. Stateless; any replica serves any request."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.bootstrap import ensure_some_actors
from actors.bounded_bodies import bound_bodies
from actors.brain_client import BrainClient
from actors.brain_states import BrainReport, apps_of
from actors.cluster_metrics import ClusterMetrics
from actors.database import open_platform_store
from actors.fleet_client import ask_fleet
from actors.hand_client import linked_hands
from actors.hand_deployer import ServeHands
from actors.metrics_reporter import MetricsReporter
from actors.placement import off_gpu_nodes
from actors.session_client import SessionClient
from actors.standby_client import StandbyClient
from agents.api.platform import Platform
from agents.brains.budgets import Budgets, OverBudget
from agents.brains.ceilings import answers_ceiling
from agents.brains.immutable import check_unchanged
from agents.brains.policy import RulePolicy
from agents.brains.registry import Registry, registry_of
from agents.brains.release_keeper import ReleaseKeeper
from agents.brains.routing import RoutedBrain
from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.call_books import CallBooks, call_folder
from agents.economics.price_book import PriceBook
from agents.errors import HecatonError, Unavailable
from agents.files.blobs import open_blob_store
from agents.files.service import open_files
from agents.governance.anomalies.detector import AnomalyDetector
from agents.governance.governed_hands import GovernedHands, governed
from agents.hands.deployed.deployments import HandDeployer, NotDeploying
from agents.periodic import PeriodicTask
from agents.skills.archive_store import StoredArchives
from agents.standby.port import StandbyReport
from agents.store.database import SqlStore
from agents.telemetry.metrics import render_metrics
from agents.telemetry.money import money_figures
from agents.telemetry.recorder import Recorder, recorder_for
from agents.telemetry.tracing.process_tracing import ProcessTracing

logger = logging.getLogger(__name__)

_FIGURES_SECONDS = 2.0
_REFUSALS = 512
"""Requests beyond a full replica's bounds that may be there to hear so, and as many again that may queue before it."""


async def _fleet_figures() -> dict[str, Any]:
    """Return each sandbox host's figures; none while the fleet is replaced, for sessions go on meanwhile."""
    try:
        return await ask_fleet("stats", timeout=_FIGURES_SECONDS)
    except Unavailable:
        return {}


async def _money(registry: Registry, report: BrainReport, budgets: Budgets) -> dict[str, dict[str, float]]:
    """Return what each brain costs; none while that is not known."""
    states = await report.states()
    try:
        spent = await budgets.spent() if registry.declared else {}
    except OverBudget:
        return {}
    return money_figures(registry, {brain: each.replicas for brain, each in states.items()}, spent)


async def _standing(standby: StandbyClient | None) -> StandbyReport | None:
    """Return how the standby stands; None without one, and while the fleet is replaced."""
    try:
        return None if standby is None else await standby.report()
    except Unavailable:
        return None


async def _work_figures(store: SqlStore) -> Mapping[str, float]:
    """Return how the queues of work for workers elsewhere stand; none while the database does not answer."""
    try:
        return await store.work.figures()
    except Unavailable:
        return {}


def _deployer(settings: Settings, store: SqlStore) -> tuple[HandDeployer, asyncio.Task[None]]:
    """Return what runs hands, and the task that sees to those which nobody has deployed."""
    if settings.topology == "monolith":
        return NotDeploying(), asyncio.create_task(asyncio.sleep(0))
    hands = ServeHands(settings, store.hands)
    return hands, asyncio.create_task(_deploy_missing(hands))


async def _deploy_missing(hands: ServeHands) -> None:
    try:
        await hands.deploy_missing()
    except HecatonError as error:
        logger.warning("hands that may lack are not deployed: %s", error.message)


def _platform(
    settings: Settings,
    store: SqlStore,
    sessions: SessionClient,
    brains: BrainClient,
    releases: ReleaseKeeper,
    standby: StandbyClient | None,
    deployed: GovernedHands,
    deployer: HandDeployer,
    recorder: Recorder,
) -> Platform:
    registry, prices = registry_of(settings), PriceBook.load(settings.brain.price_book)
    brain_report = BrainReport(registry.brains, apps_of(settings))
    budgets = Budgets(store.meter, prices, SystemClock(), together=answers_ceiling(settings))
    cluster = ClusterMetrics(store.sessions, deployed.releases, SystemClock())

    async def ready() -> dict[str, Any]:
        """Ready is: the store answers, some harness lives, some brain serves. What is replaced just now is no fault."""
        members, sandboxes, states, standing = await asyncio.gather(
            sessions.members(), _fleet_figures(), brain_report.states(), _standing(standby)
        )
        serves = not states or any(each.serves for each in states.values())
        stands_in = standing is not None and standing.share > 0 and bool(standing.replicas)
        return {
            "ready": bool(members) and (serves or stands_in),
            "brains": {name: each.wire() for name, each in states.items()},
            "harness": members,
            "sandboxes": sandboxes,
            **({} if standing is None else {"standby": standing.wire()}),
        }

    async def metrics() -> bytes:
        figures = asyncio.gather(
            sessions.members(),
            _fleet_figures(),
            _money(registry, brain_report, budgets),
            _standing(standby),
            _work_figures(store),
            brains.replica_figures(),
        )
        recorded = await cluster.recorded() if recorder.on else None
        members, hosts, of_brains, standing, work, engines = await figures
        of_standby = None if standing is None else standing.figures
        return render_metrics(members, hosts, of_brains, of_standby, work, engines, recorded)

    return Platform(
        settings=settings,
        store=store,
        sessions=sessions,
        clock=SystemClock(),
        prices=prices,
        brain=RoutedBrain(registry, brains, RulePolicy(prices), releases=releases.releases, budgets=budgets),
        counters=brains,
        releases=releases,
        hand_releases=deployed.releases,
        files=open_files(settings, store, SystemClock()),
        skill_archives=StoredArchives(open_blob_store(settings)),
        meter=store.meter,
        metrics=metrics,
        ready=ready,
        standby=standby,
        deployer=deployer,
        deployed=deployed,
        recorder=recorder,
    )


class GatewayApp:
    """The ASGI application of one replica: composed at its lifespan's start, on its own event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            assert self._app is not None, "a request came before the lifespan started"
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        # Only here: the API's types take longer to load than all the rest, and who deploys a gateway serves none.
        from agents.api.app import create_app
        from agents.api.deployed_sessions import scheduler_of
        from agents.api.request_trace import RequestSpans

        ensure_some_actors(self._settings)
        store = await open_platform_store(self._settings)
        tracing = ProcessTracing(self._settings, "hecaton-gateway", f"gateway-{socket.gethostname()}-{os.getpid()}")
        spans = RequestSpans(tracing.sink) if tracing.on else None
        sessions = SessionClient(self._settings, store.leases, on_trace=spans.turned_out if spans else lambda _: None)
        brains = BrainClient(self._settings)
        brains.start()
        registry = registry_of(self._settings)
        await check_unchanged(registry.brains, store.releases)
        releases = ReleaseKeeper(registry, store.releases, SystemClock())
        await releases.start()
        standby = StandbyClient() if self._settings.standby.enabled else None
        if standby is not None:
            await standby.start()
        recorder = recorder_for(metrics=self._settings.telemetry.metrics)
        reporter = MetricsReporter(recorder, "gateway")
        hands = linked_hands(store.hands)
        recorder.collect(hands.tell)
        deployed = governed(hands, store.hand_releases, self._settings.hands, self._settings.gateway.replicas)
        await deployed.start()
        deployer, missing = _deployer(self._settings, store)
        every = self._settings.metering.write_seconds
        books = CallBooks(store.calls, call_folder(self._settings), SystemClock(), every=every)
        books.start()
        parts = (store, sessions, brains, releases, standby, deployed, deployer, recorder)
        platform = replace(_platform(self._settings, *parts), spans=spans)
        every, failing = self._settings.files.sweep_seconds, "what no file needs any more is not removed"
        sweeping = PeriodicTask("files", platform.files.sweep, SystemClock(), every=every, failing=failing)
        sweeping.start()
        self._app = create_app(platform)
        schedules = scheduler_of(platform)
        schedules.start()
        observer = f"gateway-{recorder.process}"
        detector = AnomalyDetector(self._settings, recorder, SystemClock(), observer, store.audit, store.webhooks)
        detector.start()
        reporter.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await schedules.stop()
        await detector.stop()
        await sweeping.stop()
        await books.close()
        if standby is not None:
            await standby.close()
        missing.cancel()
        await deployed.close()
        await sessions.close()
        await tracing.close()
        await brains.close()
        await releases.close()
        await store.close()
        # Last, for the fleet may be gone already, and this waits for it.
        await reporter.stop()
        await send({"type": "lifespan.shutdown.complete"})


@serve.deployment(name="gateway")
@serve.ingress()
class Gateway:
    """Serves the public API."""

    def __init__(self, settings_json: str) -> None:
        self._settings = Settings.from_json(settings_json)
        bound_bodies()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return GatewayApp(self._settings)


def gateway_app(settings: Settings) -> serve.Application:
    """Bind the gateway deployment for *settings*."""
    options: dict[str, Any] = {
        "num_replicas": settings.gateway.replicas,
        # Open event streams count as ongoing requests; the gateway refuses more of either by itself, at once and
        # in the API's own words, so it must be reached for that. What Serve itself refuses is a bare 503.
        "max_ongoing_requests": settings.gateway.max_ongoing_requests + settings.gateway.max_streams + _REFUSALS,
        "max_queued_requests": _REFUSALS,
        "ray_actor_options": {"num_cpus": 0.1, **off_gpu_nodes()},
        "graceful_shutdown_timeout_s": 5,
        # Replaced one by one, each new one before an old one goes.
        "max_surge_percent": 1,
        # One log line per request costs more than parsing it; figures are on /metrics.
        "logging_config": {"enable_access_log": False},
    }
    return Gateway.options(**options).bind(settings.to_json())
