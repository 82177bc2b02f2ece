"""The hand of the chaos runner: each call does something to the outside world that must not be done twice."""

from __future__ import annotations

import asyncio
import os

from mcp.server.mcpserver import MCPServer

server = MCPServer("effects")
_WORK_SECONDS = 0.5
_ANSWER_SECONDS = 20.0


@server.tool()
async def feel(effects: str) -> str:
    """Do *effects* (ids with spaces between), one after the other, and go on working for a moment."""
    async with asyncio.timeout(_ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["EFFECT_PORT"]))
        try:
            for effect in effects.split():
                writer.write(f"{effect}\n".encode())
                if await reader.readline() != b"ok\n":
                    raise ConnectionError(f"{effect} was not acknowledged")
        finally:
            writer.close()
    await asyncio.sleep(_WORK_SECONDS)
    return f"felt {effects}"
