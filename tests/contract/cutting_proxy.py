"""A PostgreSQL server's unix socket with somebody in between who cuts the connection at a commit.

What a network does to the one moment that matters: the commit is on its way, or it is done and the answer
is on its way, and the connection is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path

SOCKET = ".s.PGSQL.5432"


class Cut(Enum):
    BEFORE_COMMIT = auto()
    AFTER_COMMIT = auto()


class CuttingProxy:
    """Passes everything on, but the next commits, one per cut asked for."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self.cuts: list[Cut] = []
        self.commits = 0
        """Commits that reached the server."""

    @asynccontextmanager
    async def listening(self, home: Path) -> AsyncIterator[None]:
        # Short, because a socket's path may hold 107 bytes.
        listener = await asyncio.start_unix_server(self._connected, home / SOCKET)
        async with listener:
            yield

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(str(self._server / SOCKET))
        back = asyncio.create_task(_pass_on(from_server, writer))
        try:
            while data := await reader.read(65536):
                # A commit is a message of its own: the client waits for the answer to what went before it.
                if not (data.startswith(b"Q") and data[5:].startswith(b"COMMIT")):
                    to_server.write(data)
                    continue
                cut = self.cuts.pop(0) if self.cuts else None
                if cut is Cut.BEFORE_COMMIT:
                    break
                self.commits += 1
                if cut is Cut.AFTER_COMMIT:
                    back.cancel()
                    await asyncio.wait([back])
                    to_server.write(data)
                    await from_server.read(1)  # it has answered, so it has committed
                    break
                to_server.write(data)
        finally:
            back.cancel()
            await asyncio.wait([back])
            to_server.close()
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
