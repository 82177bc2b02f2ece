"""The brain deployment: an engine behind a streaming Serve handle, apart from everything else.

Serve's fast mode runs this code on the replica's own event loop, so nothing here may block it.
"""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Any

import orjson
from ray import serve

from actors.coalesce import coalesce
from agents.brains.factory import make_brain
from agents.brains.port import BrainFailure, BrainRequest
from agents.config import Settings
from agents.vault import SettingsVault


@serve.deployment(name="brain")
class BrainServer:
    """Streams batches of Messages-API events as JSON arrays; a failure is the last item, as a value."""

    def __init__(self, settings_json: str) -> None:
        settings = Settings.from_json(settings_json)
        self._brain = make_brain(settings, SettingsVault(settings))

    async def think_whole(self, request: bytes) -> bytes:
        """Answer with every event at once: half the price of a stream that nobody watches."""
        asked: BrainRequest = pickle.loads(request)  # noqa: S301 - written by our own harness
        events: list[dict[str, Any]] = []
        try:
            async for event in self._brain.think(asked):
                events.append(event)  # noqa: PERF401 - what came before a failure was paid for, and is kept
        except BrainFailure as failure:
            return pickle.dumps((events, failure))
        return orjson.dumps(events)

    async def think(self, request: bytes) -> AsyncIterator[bytes]:
        asked: BrainRequest = pickle.loads(request)  # noqa: S301 - written by our own harness
        try:
            async for batch in coalesce(self._brain.think(asked)):
                yield orjson.dumps(batch)
        except BrainFailure as failure:
            yield pickle.dumps(([], failure))


def brain_app(settings: Settings) -> serve.Application:
    """Bind the brain deployment for *settings*."""
    options: dict[str, Any] = {
        "num_replicas": settings.brain.replicas,
        # A remote model's tokens arrive over the network: many requests share one replica's loop.
        "max_ongoing_requests": settings.brain.max_ongoing_requests,
        "max_queued_requests": 4 * settings.brain.max_ongoing_requests,
        # It relays streams; GPU engines ask for their own resources (step C).
        "ray_actor_options": {"num_cpus": 0.1},
        "graceful_shutdown_timeout_s": 10,
        "logging_config": {"enable_access_log": False},
    }
    return BrainServer.options(**options).bind(settings.to_json())
