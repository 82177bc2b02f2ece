"""The server that the suite is held against: by default one in this process, else a live one over its URL.

The in-process server is everything but Ray: the real API, harness, SQLite store, claude brain (asking the
stub model) and sandbox host (bubblewrap), on the event loop of one thread. A live server must run with
:data:`SETTINGS` and have the same stub as its model (and its SearXNG); then set ``HECATON_CONFORMANCE_URL``,
``HECATON_CONFORMANCE_STUB_URL`` and, with another key, ``HECATON_CONFORMANCE_KEY``. For its traces choose a port of
this machine, have the server send them to ``http://...:PORT/v1/traces``, and set ``HECATON_CONFORMANCE_OTLP_PORT``.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from actors.tool_servers import tool_servers
from agents.api.app import create_app
from agents.api.deployed_sessions import scheduler_of
from agents.api.platform import Platform
from agents.api.request_trace import RequestSpans
from agents.brains.budgets import Budgets
from agents.brains.ceilings import answers_ceiling
from agents.brains.local_pools import local_pools
from agents.brains.policy import RulePolicy
from agents.brains.registry import registry_of
from agents.brains.release_keeper import ReleaseKeeper
from agents.brains.routing import RoutedBrain
from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.files.blobs import open_blob_store
from agents.files.filling import FillingBrain
from agents.files.outputs import outputs_of
from agents.files.service import open_files
from agents.governance.governed_hands import governed
from agents.hands.configured_host import host_of
from agents.hands.deployed.local_hands import LocalHands
from agents.hands.toolset import tool_definitions
from agents.memory.records import MemoryRepository
from agents.repositories.access import StoredRepositories
from agents.sessions.bus import Bus
from agents.sessions.harness import Harness
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.sessions.ports import HarnessPorts
from agents.skills.archive_store import StoredArchives
from agents.store.database import open_store
from agents.telemetry.tracing.process_tracing import ProcessTracing
from agents.vault import SettingsVault
from agents.vaults.credentials import vault_credentials
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys
from agents.web.definitions import web_definitions
from agents.webhooks.registered import registered_webhooks
from tests.otlp_receiver import Receiver, receiver
from tests.stub_model import StubControl, stub_in_thread
from tests.stub_model.serving import address, listen

KEY = "conformance-key"
MAX_QUEUED = 60
MAX_TOOL_ROUNDS = 10
MAX_ATTEMPTS = 3
SETTINGS: dict[str, Any] = {
    "api_key": KEY,
    # Short, so that a keep-alive is seen without waiting; quick retries, so that exhaustion is; a long
    # ceiling, so that a model's own retry-after can hold a session in its back-off.
    "gateway": {"stream_keepalive_seconds": 0.3},
    "harness": {"max_queued_events": MAX_QUEUED, "max_tool_rounds": MAX_TOOL_ROUNDS, "drain_seconds": 3},
    "network": {"allow_private": ["127.0.0.0/8"]},
    # Workers beat every half lease, and at most once a second: a lost one is taken over soon.
    "workers": {"lease_seconds": 2},
    "brain": {"max_attempts": MAX_ATTEMPTS, "backoff_base_seconds": 0.01, "backoff_ceiling_seconds": 30},
}


@dataclass(frozen=True, slots=True)
class LivePlatform:
    """A running server, its key, and the stub that answers its model requests."""

    url: str
    stub: StubControl
    key: str = KEY
    traces: Receiver | None = None
    """What gets the server's spans; None for a live one that sends them elsewhere."""


def settings_for(data_dir: Path, stub_url: str, **more: Any) -> Settings:
    """The suite's settings over a data directory and a stub; *more* adds to or replaces sections' keys."""
    merged: dict[str, Any] = {
        name: dict(value) if isinstance(value, dict) else value for name, value in SETTINGS.items()
    }
    merged["data_dir"] = data_dir
    if stub_url:
        merged["web"] = {"search_provider": "searxng", "search_url": stub_url}
    for name, value in {**more, "brain": {"base_url": stub_url, **more.get("brain", {})}}.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return Settings.model_validate(merged)


@asynccontextmanager
async def _application(settings: Settings) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        clock, prices = SystemClock(), PriceBook.load()
        # Each is made of the other; none is heard of before both are.
        tracing = ProcessTracing(settings, "hecaton", "conformance", on_exceptional=lambda each: spans.turned_out(each))
        spans = RequestSpans(tracing.sink)
        stack.push_async_callback(tracing.close)
        store = await open_store(settings.data_dir / "hecaton.db")
        stack.push_async_callback(store.close)
        credentials = vault_credentials(settings, store.vaults)
        repositories = StoredRepositories(store.sessions, Envelope(master_keys(settings)))

        async def memory(_: str) -> MemoryRepository:
            return store.memory

        hands = host_of(
            settings,
            settings.data_dir / "sandboxes",
            credentials=credentials,
            repositories=repositories,
            outputs=outputs_of(settings, store),
            memory=memory,
        )
        await hands.start()
        stack.push_async_callback(hands.stop)
        registry = registry_of(settings)
        pools = await stack.enter_async_context(local_pools(registry, settings, SettingsVault(settings)))
        budgets = Budgets(store.meter, prices, clock, together=answers_ceiling(settings))
        releases = ReleaseKeeper(registry, store.releases, clock)
        await releases.start()
        stack.push_async_callback(releases.close)
        brain = RoutedBrain(registry, pools, RulePolicy(prices), releases=releases.releases, budgets=budgets)
        local = LocalHands(store.hands, settings.data_dir / "run" / "hands")
        local.start()
        deployed = governed(local, store.hand_releases, settings.hands, processes=1)
        await deployed.start()
        servers = tool_servers(settings, credentials, store.hands, prices, hands=deployed)
        stack.push_async_callback(servers.close)
        files = open_files(settings, store, clock)
        ports = HarnessPorts(
            settings=settings,
            log=store.log,
            leases=store.leases,
            brain=FillingBrain(brain, files),
            hands=hands,
            clock=clock,
            meter=store.meter,
            bus=Bus(),
            prices=prices,
            tool_definitions=lambda: [*tool_definitions(SANDBOX_TOOLS), *web_definitions()],
            servers=servers,
            tracing=tracing,
        )
        webhooks = registered_webhooks(
            settings, store.webhook_registrations, store.webhooks, clock, ports.metrics.recorder
        )
        webhooks.start()
        stack.push_async_callback(webhooks.close)
        harness = Harness(ports, owner="harness-0")
        await harness.start()
        stack.push_async_callback(harness.stop)

        async def ready() -> dict[str, Any]:
            await store.ping()
            return {"ready": True}

        platform = Platform(
            settings=settings,
            store=store,
            sessions=harness,
            clock=clock,
            prices=prices,
            brain=brain,
            counters=pools,
            releases=releases,
            hand_releases=deployed.releases,
            files=files,
            skill_archives=StoredArchives(open_blob_store(settings)),
            deployed=deployed,
            meter=store.meter,
            metrics=lambda: b"",
            ready=ready,
            spans=spans,
        )
        schedules = scheduler_of(platform)
        schedules.start()
        stack.push_async_callback(schedules.stop)
        yield create_app(platform)


class ServerThread:
    """Uvicorn over the composed application, on an event loop of its own."""

    def __init__(self, settings: Settings, *, port: int = 0) -> None:
        self._settings = settings
        self._listener = listen(port=port)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._run, name="conformance-server", daemon=True)

    def start(self) -> str:
        self._thread.start()
        assert self._started.wait(30), "the server did not start"
        if self._failure is not None:
            raise self._failure
        return address(self._listener)

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not end"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:
            self._failure = failure
            self._started.set()

    async def _serve(self) -> None:
        async with _application(self._settings) as app:
            config = uvicorn.Config(
                app, lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1
            )
            self._server = uvicorn.Server(config)
            self._started.set()
            # The process's signals are the test runner's: only the serving itself is wanted here.
            await self._server._serve([self._listener])


@contextmanager
def in_process(data_dir: Path, **more: Any) -> Iterator[LivePlatform]:
    """Run the server and its stub in threads of this process; *more* as for :func:`settings_for`."""
    with stub_in_thread(keep=4000) as stub, receiver() as traces:
        exported = {"traces": {"endpoint": traces.url, "write_seconds": 0.2}}
        server = ServerThread(settings_for(data_dir, stub.url, telemetry=exported, **more))
        url = server.start()
        try:
            yield LivePlatform(url, stub, traces=traces)
        finally:
            stub.release("*")
            server.stop()


@contextmanager
def from_environment() -> Iterator[LivePlatform | None]:
    """The live server that the environment names, or None."""
    url, port = (os.environ.get(f"HECATON_CONFORMANCE_{name}") for name in ("URL", "OTLP_PORT"))
    if not url:
        yield None
        return
    stub = StubControl(os.environ["HECATON_CONFORMANCE_STUB_URL"])
    with receiver(int(port)) if port else nullcontext() as traces:
        yield LivePlatform(url, stub, os.environ.get("HECATON_CONFORMANCE_KEY", KEY), traces)
