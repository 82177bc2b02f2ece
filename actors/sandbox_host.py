"""The sandbox-host actor: many sandboxes in one process, on CPU nodes only. Harnesses link to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors.link_server import Connection, Endpoint, LinkServer, link_address, no_calls
from actors.remote import actor
from actors.replies import Reply, reply_of
from agents.config import Settings
from agents.errors import InvalidRequest
from agents.hands.host import SandboxHost

# Actor calls only find, check and stop it; tool calls travel over links.
_MAX_CONCURRENCY = 100


@actor(num_cpus=0.1, max_restarts=-1, max_task_retries=0, max_concurrency=_MAX_CONCURRENCY)
class SandboxHostActor:
    """Runs tool calls in sandboxes and keeps a few of them warm."""

    def __init__(self, settings_json: str, root: str) -> None:
        self._settings = Settings.from_json(settings_json)
        self._root = Path(root)
        self._starting: asyncio.Task[SandboxHost] | None = None
        self._links = LinkServer(lambda stream: Connection(stream, self._call, self._stream))
        self._endpoint: Endpoint | None = None

    async def _host(self) -> SandboxHost:
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> SandboxHost:
        host = SandboxHost(self._settings.sandbox, self._root)
        await host.start()
        self._endpoint = await self._links.start(link_address(self._settings))
        return host

    async def endpoint(self) -> Reply:
        """Tell a harness where to connect and which token to show."""
        await self._host()
        return Reply(self._endpoint)

    async def _stream(self, method: str, args: Sequence[Any]) -> AsyncGenerator[Any, None]:
        """Serve one batch of tool calls: results come back as they finish (the Hands port)."""
        if method != "execute":
            raise InvalidRequest(f"no such stream: {method}")
        async for result in (await self._host()).execute(*args):
            yield result

    async def _call(self, method: str, args: Sequence[Any]) -> Reply:
        if method != "release":
            return await no_calls(method, args)
        session_id, destroy = args
        return await reply_of((await self._host()).release(session_id, destroy=destroy))

    async def ping(self) -> Reply:
        """Answer with the host's figures once it can run tools."""
        return Reply(asdict((await self._host()).stats()))

    async def stop(self) -> Reply:
        if self._starting is not None and self._starting.done() and self._starting.exception() is None:
            await self._links.stop()
            await self._starting.result().stop()
        return Reply(True)
