"""What a sandbox host answers on its links, whichever process it lives in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from actors.link_server import Connection, Endpoint, LinkServer, no_calls
from actors.replies import Reply, reply_of
from agents.errors import InvalidRequest
from agents.hands.host import SandboxHost
from agents.hands.host_fleet import HostReport

FindHost = Callable[[], Awaitable[SandboxHost]]


def host_server(host: FindHost) -> LinkServer:
    """Return the server of a host; each call waits until *host* has found (or started) it."""
    calls = _HostCalls(host)
    return LinkServer(lambda stream: Connection(stream, calls.call, calls.stream))


def host_report(host: SandboxHost, endpoint: Endpoint) -> HostReport:
    """Say who and where this is and how it goes."""
    return HostReport(host.incarnation, endpoint, host.leaving, asdict(host.stats()))


class _HostCalls:
    def __init__(self, host: FindHost) -> None:
        self._host = host

    async def stream(self, method: str, args: Sequence[Any]) -> AsyncGenerator[Any, None]:
        """Serve one batch of tool calls: results come back as they finish (the Hands port)."""
        if method != "execute":
            raise InvalidRequest(f"no such stream: {method}")
        async with aclosing((await self._host()).execute(*args)) as results:
            async for result in results:
                yield result

    async def call(self, method: str, args: Sequence[Any]) -> Reply:
        host = await self._host()
        match method, args:
            case "release", (str(session_id), bool(destroy)):
                return await reply_of(host.release(session_id, destroy=destroy))
            case "cancel", (str(session_id), calls):
                return Reply(host.cancel(session_id, calls))
            case _:
                return await no_calls(method, args)
