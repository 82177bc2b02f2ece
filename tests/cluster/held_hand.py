"""A hand whose calls last until the test lets them go."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("held", log_level="ERROR")
_LOOK_SECONDS = 0.05


@server.tool()
async def hold(number: int) -> str:
    """Return *number* once the file named by ``HELD_UNTIL`` is there."""
    released = Path(os.environ["HELD_UNTIL"])
    while not released.exists():
        await asyncio.sleep(_LOOK_SECONDS)
    return f"held {number}"
