"""The sandbox-host actor: many sandboxes in one process, on CPU nodes only. Harnesses link to it."""

from __future__ import annotations

import asyncio

from actors.host_calls import host_report, host_server
from actors.late_credentials import LateCredentials
from actors.late_outputs import LateOutputs
from actors.late_repositories import LateRepositories
from actors.late_store import LateStore
from actors.link_server import Endpoint, link_address
from actors.metrics_reporter import MetricsReporter
from actors.placement import HANDS_CPUS
from actors.remote import actor
from actors.replies import Reply
from agents.config import Settings
from agents.hands.configured_host import host_of
from agents.hands.host import SandboxHost
from agents.hands.incarnation import host_root
from agents.telemetry.recorder import recorder_for

# Actor calls only find, check and stop it; tool calls travel over links.
_MAX_CONCURRENCY = 100


@actor(num_cpus=HANDS_CPUS, max_restarts=-1, max_task_retries=0, max_concurrency=_MAX_CONCURRENCY)
class SandboxHostActor:
    """Runs tool calls in sandboxes and keeps a few of them warm."""

    def __init__(self, settings_json: str, name: str) -> None:
        self._settings = Settings.from_json(settings_json)
        self._name = name
        self._starting: asyncio.Task[SandboxHost] | None = None
        self._store = LateStore(self._settings)
        self._links = host_server(self._host)
        self._endpoint: Endpoint | None = None
        self._recorder = recorder_for(metrics=self._settings.telemetry.metrics)
        self._reporter = MetricsReporter(self._recorder, "sandbox")

    async def _host(self) -> SandboxHost:
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> SandboxHost:
        root = host_root(self._settings, self._name)
        credentials, outputs = LateCredentials(self._store), LateOutputs(self._store)
        host = host_of(
            self._settings,
            root,
            name=self._name,
            credentials=credentials,
            repositories=LateRepositories(self._store),
            recorder=self._recorder,
            outputs=outputs,
            memory=self._store.memory,
        )
        await host.start()
        self._reporter.start()
        self._endpoint = await self._links.start(link_address(self._settings))
        return host

    async def ping(self) -> Reply:
        """Say, once it can run tools, who and where this is and how it goes."""
        host = await self._host()
        assert self._endpoint is not None
        return Reply(host_report(host, self._endpoint))

    async def drain(self) -> Reply:
        """Take no new calls, and return when those that run have ended."""
        return Reply(await (await self._host()).drain())

    async def stop(self) -> Reply:
        """Put the sandboxes away; their files stay."""
        if self._starting is not None and self._starting.done() and self._starting.exception() is None:
            await self._links.stop()
            await self._starting.result().stop()
            await self._reporter.stop()
            await self._store.close()
        return Reply(True)
