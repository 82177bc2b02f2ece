"""The platform's own paths: health, readiness, metrics, and the API's description. They take no key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.routes import Operation
from agents.errors import Unavailable

_PROBE_SECONDS = 5.0
"""A probe that hangs is a probe that fails: orchestrators wait about as long."""


class MetaRoutes:
    """Health, readiness, metrics, description."""

    def __init__(self, platform: Platform, description: Callable[[], dict[str, Any]]) -> None:
        self._platform = platform
        self._description = description

    def operations(self) -> list[Operation]:
        """Return these paths' operations."""
        tag = "meta"
        return [
            Operation("GET", "/-/healthz", self.health, "health", tag),
            Operation("GET", "/-/readyz", self.ready, "ready", tag, statuses=[503]),
            Operation("GET", "/metrics", self.metrics, "metrics", tag, media_type="text/plain"),
            Operation("GET", "/openapi.json", self.describe, "describe", tag),
        ]

    async def health(self, request: Request) -> Response:
        del request
        return json_answer({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        del request
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                report = await self._platform.ready()
        except TimeoutError:
            raise Unavailable(f"the parts did not report within {_PROBE_SECONDS:.0f} seconds") from None
        return json_answer(report, 200 if report.get("ready", True) else 503)

    async def metrics(self, request: Request) -> Response:
        del request
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                rendered = self._platform.metrics()
                text = await rendered if isawaitable(rendered) else rendered
        except TimeoutError:
            raise Unavailable(f"the metrics were not gathered within {_PROBE_SECONDS:.0f} seconds") from None
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def describe(self, request: Request) -> Response:
        del request
        # Building the description takes half a second once: other requests go on meanwhile.
        return json_answer(await asyncio.to_thread(self._description))
