"""The outside world: a server that counts what the sessions' commands did to it.

Files in a workspace can be lost with a host and restored from a copy, so they cannot tell how often a
command ran. This can: a command sends its effect id over TCP and goes on when it is acknowledged. It stands
outside the platform (sandboxes reach it through their proxy, in an environment with unrestricted networking).
"""

from __future__ import annotations

import asyncio
import time

_LINE_SECONDS = 30.0


class EffectServer:
    """Counts effects; ``felt`` keeps them in order of arrival."""

    def __init__(self) -> None:
        self.felt: list[tuple[str, float]] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on a free port of the loopback interface; returns it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_LINE_SECONDS):
                while line := await reader.readline():
                    # Counted before it is acknowledged: what a killed command has caused counts all the same.
                    self.felt.append((line.decode().strip(), time.time()))
                    writer.write(b"ok\n")
                    await writer.drain()
        except (OSError, TimeoutError):
            pass  # the command was killed: what it had said is counted
        finally:
            writer.close()
