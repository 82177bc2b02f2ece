"""The harness's Hands: sessions spread over sandbox hosts by rendezvous hashing, one stream per batch."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from actors.fleet import ask_fleet
from actors.link_client import LinkClient
from actors.replies import result_of
from agents.config import Settings
from agents.hands.port import ToolCall, ToolResult, Workspace

# The host itself ends a call at its deadline; this much later it is taken for dead.
_GRACE_SECONDS = 15.0
_TABLE_SECONDS = 60.0


class HandsClient:
    """Runs tool calls on the sandbox host that a session belongs to."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.sandbox.tool_timeout_seconds + _GRACE_SECONDS
        self._links: dict[str, LinkClient] = {}
        self._asking = asyncio.Lock()

    async def _link(self, session_id: str) -> LinkClient:
        if not self._links:
            async with self._asking:
                if not self._links:
                    hosts: dict[str, Any] = await ask_fleet("hosts", timeout=_TABLE_SECONDS)
                    self._links = {name: _link_to(name, host) for name, host in hosts.items()}
        if len(self._links) == 1:
            return next(iter(self._links.values()))
        name = max(self._links, key=lambda host: hashlib.blake2b(f"{host}/{session_id}".encode()).digest())
        return self._links[name]

    async def execute(self, workspace: Workspace, calls: Sequence[ToolCall]) -> AsyncGenerator[ToolResult, None]:
        """See Hands.execute. Raises Unavailable when the host is lost; the caller turns that into results."""
        link = await self._link(workspace.session_id)
        results = link.stream("execute", workspace, list(calls), timeout=self._limit)
        try:
            async for result in results:
                yield result
        finally:
            await results.aclose()

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """See Hands.release."""
        link = await self._link(session_id)
        await link.call("call", "release", (session_id, destroy), timeout=_TABLE_SECONDS)


def _link_to(name: str, host: Any) -> LinkClient:
    return LinkClient(name, lambda: result_of(host.endpoint.remote(), what=name, timeout=_TABLE_SECONDS))
