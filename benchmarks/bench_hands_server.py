"""The MCP server object that ``benchmarks.bench_hands`` measures, as a hand and in its own process."""

from __future__ import annotations

import asyncio

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("bench", log_level="ERROR")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
async def nap(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return "rested"
