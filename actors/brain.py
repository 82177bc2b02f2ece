"""The brain deployment: an engine on Serve replicas, apart from everything else, that harnesses link to.

Serve places, checks, scales and replaces the replicas; model requests reach them over links, which cost a
tenth of a handle call (docs/adr/0007). Serve's fast mode runs this code on the replica's own event loop,
so nothing here may block it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayError

from actors.bootstrap import ensure_fleet
from actors.coalesce import coalesce
from actors.link_server import Connection, LinkServer, link_address, no_calls
from actors.replies import Reply, result_of
from agents.brains.factory import make_brain
from agents.brains.port import BrainFailure, BrainRequest
from agents.config import Settings
from agents.errors import HecatonError, InvalidRequest
from agents.vault import SettingsVault

logger = logging.getLogger(__name__)

_REGISTER_EVERY_SECONDS = 5.0
_REGISTER_SECONDS = 10.0


@serve.deployment(name="brain")
class BrainServer:
    """Answers model requests: in batches as they are made, or whole when nobody watches."""

    async def __init__(self, settings_json: str) -> None:
        settings = Settings.from_json(settings_json)
        self._brain = make_brain(settings, SettingsVault(settings))
        self._links = LinkServer(lambda stream: Connection(stream, self._call, self._stream))
        self._endpoint = await self._links.start(link_address(settings))
        self._fleet = ensure_fleet(settings)
        self._replica = serve.get_replica_context().replica_id.unique_id
        await self._register()
        self._registering = asyncio.create_task(self._keep_registered())

    async def _register(self) -> None:
        ref = self._fleet.register_brain.remote(self._replica, self._endpoint)
        await result_of(ref, what="the fleet", timeout=_REGISTER_SECONDS)

    async def _keep_registered(self) -> None:
        while True:
            await asyncio.sleep(_REGISTER_EVERY_SECONDS)
            try:
                await self._register()
            except (HecatonError, RayError) as error:
                logger.warning("the fleet does not answer: %s", error)

    def check_health(self) -> None:
        """Called by Serve; raises RuntimeError when this replica must be replaced."""
        if self._registering.done():
            raise RuntimeError("the replica no longer tells the fleet where it is")

    async def _call(self, method: str, args: Sequence[Any]) -> Reply:
        """Answer with every event at once: an answer that nobody watches needs no stream."""
        if method != "think":
            return await no_calls(method, args)
        (request,) = args
        events: list[dict[str, Any]] = []
        try:
            async for event in self._brain.think(request):
                events.append(event)  # noqa: PERF401 - what came before a failure was paid for
        except BrainFailure as failure:
            return Reply((events, failure))
        return Reply((events, None))

    async def _stream(self, method: str, args: Sequence[Any]) -> AsyncGenerator[list[dict[str, Any]], None]:
        if method != "think":
            raise InvalidRequest(f"no such stream: {method}")
        request: BrainRequest = args[0]
        async for batch in coalesce(self._brain.think(request)):
            yield batch


def brain_app(settings: Settings) -> serve.Application:
    """Bind the brain deployment for *settings*."""
    options: dict[str, Any] = {
        "num_replicas": settings.brain.replicas,
        # It relays streams; GPU engines ask for their own resources (step C).
        "ray_actor_options": {"num_cpus": 0.1},
        "graceful_shutdown_timeout_s": 10,
        "logging_config": {"enable_access_log": False},
    }
    return BrainServer.options(**options).bind(settings.to_json())
