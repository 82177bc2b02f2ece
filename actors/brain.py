"""Brains as Serve applications: an engine on replicas, apart from everything else, that harnesses link to.

Serve places, checks, scales and replaces the replicas; model requests reach them over links, which cost a
tenth of a handle call (docs/adr/0007). As Serve does not see those requests, a replica reports its load, and
one that is to end drains itself. Serve's fast mode runs this code on the replica's own event loop, so nothing
here may block it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from ray import serve
from ray.serve.api import RunTarget

from actors.bootstrap import ensure_fleet
from actors.brain_context import CACHE, SEND_ALL, RequestReader
from actors.brain_load import ReplicaLoad
from actors.brain_scaling import LOAD, scaling_options
from actors.coalesce import in_batches
from actors.fleet_client import ask_fleet
from actors.link_server import LinkServer, link_address, no_calls
from actors.metrics_reporter import MetricsReporter
from actors.names import brain_app_name
from actors.replica_options import LEAVE_SECONDS, replica_options
from actors.replies import Reply, reply_of
from agents.brains.counting import count_tokens
from agents.brains.factory import make_engine
from agents.brains.first_token import with_first_token
from agents.brains.port import BrainFailure, BrainRequest, Interruptible, Measured
from agents.brains.queued import QueuedBrain
from agents.brains.registry import RegisteredBrain, registry_of
from agents.config import Settings
from agents.errors import HecatonError
from agents.telemetry.gpu_seconds import tell_gpu_seconds
from agents.telemetry.recorder import recorder_for
from agents.vault import SettingsVault

logger = logging.getLogger(__name__)

_REGISTER_EVERY_SECONDS = 5.0
_REGISTER_SECONDS = 10.0


@serve.deployment(name="brain")
class BrainServer:
    """Answers model requests: in batches as they are made, or whole when nobody watches."""

    async def __init__(self, settings_json: str, name: str) -> None:
        """Raises EngineUnusable, which Serve shows as the reason why there is no replica."""
        settings = Settings.from_json(settings_json)
        self._registered = registry_of(settings).find(name)
        definition = self._registered.definition
        self._engine = make_engine(definition, settings, SettingsVault(settings))
        await self._engine.start()
        # Each harness keeps to the bound by itself; here they meet.
        self._brain = QueuedBrain(self._engine, definition.max_ongoing_requests, settings.brain)
        self._drain_seconds = settings.brain.drain_seconds
        self._draining = False
        self._measured = settings.telemetry.metrics
        recorder = recorder_for(metrics=settings.telemetry.metrics)
        recorder.collect(partial(tell_gpu_seconds, [self._registered], time.monotonic()))
        self._reporter = MetricsReporter(recorder, "brain")
        self._load = ReplicaLoad()
        if isinstance(self._engine, Interruptible):
            self._engine.watch(self._load.set_able)
            self._load.set_able(self._engine.able)
        self._reader = RequestReader(settings.brain.context_cache_bytes)
        self._links = LinkServer(lambda stream: self._load.connect(stream, self._call, self._stream))
        self._endpoint = await self._links.start(link_address(settings))
        ensure_fleet(settings)
        self._replica = serve.get_replica_context().replica_id.unique_id
        await self._register()
        self._registering = asyncio.create_task(self._keep_registered())
        if definition.resources.num_gpus:
            self._reporter.start()

    async def _register(self) -> None:
        brain = self._registered.id
        try:
            await ask_fleet("register_brain", self._replica, self._endpoint, brain, timeout=_REGISTER_SECONDS)
        except HecatonError as error:
            # No reason to load a model anew: the next time is in a moment.
            logger.warning("the fleet does not answer: %s", error)

    async def _keep_registered(self) -> None:
        while True:
            await asyncio.sleep(_REGISTER_EVERY_SECONDS)
            self._links.tell(CACHE, self._reader.figures())
            await self._register()

    def check_health(self) -> None:
        """Called by Serve; raises RuntimeError or EngineUnusable when this replica must be replaced."""
        if self._registering.done() and not self._draining:
            raise RuntimeError("the replica no longer tells the fleet where it is")
        self._engine.check()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Serve; see ``actors.brain_scaling``."""
        return {LOAD: self._load.requests}

    async def wake(self) -> None:
        """Do nothing: that Serve needs a replica for it is what it is for (``actors.app_waker``)."""

    async def _call(self, method: str, args: Sequence[Any]) -> Reply:
        match method, args:
            case "count_tokens", (request,):
                return await reply_of(count_tokens(self._engine, self._as_told(request)))
            case "figures", ():
                return Reply(self._engine.figures() if isinstance(self._engine, Measured) else {})
            case _:
                return await no_calls(method, args)

    async def _stream(self, method: str, args: Sequence[Any]) -> AsyncGenerator[list[dict[str, Any]], None]:
        request = self._reader.read(method, args)
        if request is None:
            yield SEND_ALL
            return
        events = self._brain.think(self._as_told(request))
        if self._measured and not request.live:
            events = with_first_token(events, asyncio.get_running_loop().time)
        try:
            async with aclosing(in_batches(events, live=request.live)) as batches:
                async for batch in batches:
                    yield batch
        except BrainFailure as failure:
            raise self._load.judged(failure) from failure

    def _as_told(self, request: BrainRequest) -> BrainRequest:
        return replace(request, model=self._registered.told(request.model))

    async def __del__(self) -> None:
        """Called by Serve before it ends the replica: leave, let what is under way end, hang up."""
        self._draining = True
        self._registering.cancel()
        try:
            await ask_fleet("unregister_brain", self._replica, timeout=LEAVE_SECONDS)
        except HecatonError as error:
            logger.warning("the fleet is not told that this replica ends: %s", error)
        await self._links.drain(self._drain_seconds)
        await self._reporter.stop()
        await self._links.stop()
        await self._engine.aclose()


def brain_app(settings: Settings, brain: RegisteredBrain) -> serve.Application:
    """Bind the deployment of one brain. Blocks for a moment: it asks Ray for its nodes."""
    definition, versions = brain.definition, registry_of(settings).versions(brain.name)
    options: dict[str, Any] = {
        **scaling_options(brain, versions.values()),
        **replica_options(definition.resources, [definition], drain_seconds=settings.brain.drain_seconds),
    }
    return BrainServer.options(**options).bind(settings.to_json(), brain.id)


def brain_targets(settings: Settings) -> list[RunTarget]:
    """Return what Serve is to run for the brains of *settings*: an application for each. Blocks for a moment."""
    return [
        RunTarget(brain_app(settings, brain), name=brain_app_name(brain.id), route_prefix=None)
        for brain in registry_of(settings).brains
    ]
