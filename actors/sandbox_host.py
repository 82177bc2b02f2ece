"""The sandbox-host actor: many sandboxes in one process, on CPU nodes only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors.remote import actor
from actors.replies import Reply, reply_of
from agents.config import Settings
from agents.hands.host import SandboxHost
from agents.hands.port import ToolCall, ToolResult, Workspace

# One call per session's batch of tools; sandboxes are bounded by the host's own limits.
_MAX_CONCURRENCY = 1000


@actor(num_cpus=0.1, max_restarts=-1, max_task_retries=0, max_concurrency=_MAX_CONCURRENCY)
class SandboxHostActor:
    """Runs tool calls in sandboxes and keeps a few of them warm."""

    def __init__(self, settings_json: str, root: str) -> None:
        self._settings = Settings.from_json(settings_json)
        self._root = Path(root)
        self._starting: asyncio.Task[SandboxHost] | None = None

    async def _host(self) -> SandboxHost:
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> SandboxHost:
        host = SandboxHost(self._settings.sandbox, self._root)
        await host.start()
        return host

    async def execute_one(self, workspace: Workspace, call: ToolCall) -> Reply:
        """Run a single call: one plain actor call is half the price of a stream."""
        host = await self._host()
        return await reply_of(_first(host.execute(workspace, [call])))

    async def execute(self, workspace: Workspace, calls: Sequence[ToolCall]) -> AsyncIterator[list[ToolResult]]:
        """Run calls in parallel; results come back as they finish."""
        async for result in (await self._host()).execute(workspace, calls):
            yield [result]

    async def release(self, session_id: str, destroy: bool) -> Reply:
        return await reply_of((await self._host()).release(session_id, destroy=destroy))

    async def ping(self) -> Reply:
        """Answer with the host's figures once it can run tools."""
        return Reply(asdict((await self._host()).stats()))

    async def stop(self) -> Reply:
        if self._starting is not None and self._starting.done() and self._starting.exception() is None:
            await self._starting.result().stop()
        return Reply(True)


async def _first(results: Any) -> ToolResult:
    try:
        return await anext(results)
    finally:
        await results.aclose()
