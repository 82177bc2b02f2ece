"""Memory of calls for servers that have none of their own: MCP servers elsewhere, and web tools.

Invariant: for one id there is one run here. It goes on when nobody waits for it any more, and whoever asks for the
same id gets its answer: a session whose state was lost in a failed commit, and that was read back, loses no result.
What an owner in another process has sent, nobody here knows. A run that failed before it had an answer is forgotten.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from agents.errors import HecatonError
from agents.hands.call_memory import Key
from agents.hands.servers.port import (
    Caller,
    Offer,
    ServerCall,
    ServerLost,
    ServerResult,
    ToolServer,
    ToolServers,
)

_MAX_RESULTS = 4096
_MAX_BYTES = 64 * 1024 * 1024
_CANCELLED = "The call was called off while it ran; what it did until then stays done."


class RememberedServers:
    """Other ToolServers, whose calls are remembered; cancelling a call of theirs must end it."""

    def __init__(self, servers: ToolServers) -> None:
        self._servers = servers
        self._runs: OrderedDict[Key, asyncio.Task[ServerResult]] = OrderedDict()
        self._bytes = 0

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer."""
        return await self._servers.offer(server, caller)

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call."""
        key = (caller.session_id, call.call_id)
        run = self._runs.get(key)
        if run is None:
            if call.again:
                raise ServerLost("whoever sent it is gone")
            run = self._runs[key] = asyncio.create_task(self._servers.call(call, caller))
            run.add_done_callback(partial(self._ended, key))
        await asyncio.wait({run})
        if run.cancelled():
            return ServerResult.error(call.call_id, _CANCELLED, "cancelled")
        return run.result()

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel."""
        for call in calls:
            if (run := self._runs.get((caller.session_id, call.call_id))) is not None:
                run.cancel()

    def _ended(self, key: Key, run: asyncio.Task[ServerResult]) -> None:
        if not run.cancelled() and (fault := run.exception()) is not None:
            del self._runs[key]
            if not isinstance(fault, HecatonError):
                run.get_loop().call_exception_handler({"message": "a server call failed", "exception": fault})
            return
        self._bytes += _size(run)
        while len(self._runs) > _MAX_RESULTS or self._bytes > _MAX_BYTES:
            oldest = next((key for key, known in self._runs.items() if known.done()), None)
            if oldest is None:
                return
            self._bytes -= _size(self._runs.pop(oldest))

    async def close(self) -> None:
        """See ToolServers.close."""
        running = [run for run in self._runs.values() if not run.done()]
        for run in running:
            run.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._servers.close()


def _size(run: asyncio.Task[ServerResult]) -> int:
    return 0 if run.cancelled() else run.result().consumption.bytes_out
