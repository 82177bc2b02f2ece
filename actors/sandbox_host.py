"""The sandbox-host actor: many sandboxes in one process, on CPU nodes only. Harnesses link to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from actors.link_server import Connection, Endpoint, LinkServer, link_address, no_calls
from actors.remote import actor
from actors.replies import Reply, reply_of
from agents.config import Settings
from agents.errors import InvalidRequest
from agents.hands.host import SandboxHost, host_of
from agents.hands.host_fleet import HostReport
from agents.hands.incarnation import host_root

# Actor calls only find, check and stop it; tool calls travel over links.
_MAX_CONCURRENCY = 100


@actor(num_cpus=0.1, max_restarts=-1, max_task_retries=0, max_concurrency=_MAX_CONCURRENCY)
class SandboxHostActor:
    """Runs tool calls in sandboxes and keeps a few of them warm."""

    def __init__(self, settings_json: str, name: str) -> None:
        self._settings = Settings.from_json(settings_json)
        self._name = name
        self._starting: asyncio.Task[SandboxHost] | None = None
        self._links = LinkServer(lambda stream: Connection(stream, self._call, self._stream))
        self._endpoint: Endpoint | None = None

    async def _host(self) -> SandboxHost:
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> SandboxHost:
        host = host_of(self._settings, host_root(self._settings, self._name), name=self._name)
        await host.start()
        self._endpoint = await self._links.start(link_address(self._settings))
        return host

    async def _stream(self, method: str, args: Sequence[Any]) -> AsyncGenerator[Any, None]:
        """Serve one batch of tool calls: results come back as they finish (the Hands port)."""
        if method != "execute":
            raise InvalidRequest(f"no such stream: {method}")
        async with aclosing((await self._host()).execute(*args)) as results:
            async for result in results:
                yield result

    async def _call(self, method: str, args: Sequence[Any]) -> Reply:
        host = await self._host()
        match method, args:
            case "release", (str(session_id), bool(destroy)):
                return await reply_of(host.release(session_id, destroy=destroy))
            case "cancel", (str(session_id), calls):
                return Reply(host.cancel(session_id, calls))
            case _:
                return await no_calls(method, args)

    async def ping(self) -> Reply:
        """Say, once it can run tools, who and where this is and how it goes."""
        host = await self._host()
        assert self._endpoint is not None
        return Reply(HostReport(host.incarnation, self._endpoint, host.leaving, asdict(host.stats())))

    async def drain(self) -> Reply:
        """Take no new calls, and return when those that run have ended."""
        return Reply(await (await self._host()).drain())

    async def stop(self) -> Reply:
        """Put the sandboxes away; their files stay."""
        if self._starting is not None and self._starting.done() and self._starting.exception() is None:
            await self._links.stop()
            await self._starting.result().stop()
        return Reply(True)
