"""The tool servers of a harness, put together: hands of this platform, MCP servers elsewhere, web tools."""

from __future__ import annotations

from agents.hands.servers.router import RoutedServers


def tool_servers() -> RoutedServers:
    """Build every way that server calls can go."""
    return RoutedServers()
