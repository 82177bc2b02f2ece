"""The twin of the tool servers: servers that are Python functions, with every failure that the port knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from agents.hands.servers.port import (
    SERVER_INTENT,
    Caller,
    Offer,
    OfferedTool,
    ServerCall,
    ServerLost,
    ServerResult,
    ServerUnreachable,
    ToolServer,
)

Run = Callable[[ServerCall], Awaitable[ServerResult]]


async def echo(call: ServerCall) -> ServerResult:
    """Answer with the name of the tool."""
    return ServerResult(call.call_id, [{"type": "text", "text": f"ran {call.tool}"}])


@dataclass(slots=True)
class MemoryServer:
    """One server: its tools, and what it does with a call. What is put into a ``fault`` is raised instead."""

    tools: Sequence[OfferedTool] = ()
    hand: str = ""
    run: Run = echo
    offer_fault: Exception | None = None
    offer_gate: asyncio.Event | None = None
    """What an offer waits for."""
    call_faults: list[Exception] = field(default_factory=lambda: [])
    """Raised by the next calls, one each."""
    offers: int = 0
    calls: list[ServerCall] = field(default_factory=lambda: [])
    callers: list[Caller] = field(default_factory=lambda: [])
    cancelled: list[str] = field(default_factory=lambda: [])


class MemoryServers:
    """Servers by URL. A call that was begun runs on, whoever waits for it, and is answered from memory after that."""

    def __init__(self, **servers: MemoryServer) -> None:
        """*servers* are known as ``http://NAME``; ``web`` stands for the web tools, too."""
        self._servers = {f"http://{name}": server for name, server in servers.items()}
        if "web" in servers:
            self._servers[""] = servers["web"]
        self._runs: dict[str, asyncio.Task[ServerResult]] = {}

    def server(self, url: str) -> MemoryServer:
        """Return the server at *url*, which is empty for that of the web tools."""
        return self._servers[url]

    def serve(self, url: str, server: MemoryServer) -> None:
        """Have *server* answer at *url*, too."""
        self._servers[url] = server

    def forget(self) -> None:
        """Remember no call, as after a crash."""
        self._runs.clear()

    def _server(self, server: ToolServer) -> MemoryServer:
        if server.url not in self._servers:
            raise ServerUnreachable(f"nobody answers at {server.url}")
        return self._servers[server.url]

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer."""
        del caller
        known = self._server(server)
        known.offers += 1
        if known.offer_gate is not None:
            await known.offer_gate.wait()
        if known.offer_fault is not None:
            raise known.offer_fault
        return Offer(known.tools, known.hand)

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call."""
        server = self._server(call.server)
        server.calls.append(call)
        server.callers.append(caller)
        if server.call_faults:
            raise server.call_faults.pop(0)
        if call.again and call.call_id not in self._runs:
            raise ServerLost("nobody knows of this call")
        if call.call_id not in self._runs:
            self._runs[call.call_id] = asyncio.ensure_future(server.run(call))
        return await asyncio.shield(self._runs[call.call_id])

    def destination(self, server: ToolServer, hand: str) -> str | None:
        """See PlacedServers.destination."""
        del server, hand
        return SERVER_INTENT

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel."""
        del caller
        for call in calls:
            self._server(call.server).cancelled.append(call.call_id)
            if (run := self._runs.get(call.call_id)) is not None:
                run.cancel()

    async def close(self) -> None:
        """See ToolServers.close."""
        for run in self._runs.values():
            run.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)
