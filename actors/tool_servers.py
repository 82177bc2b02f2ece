"""The tool servers of a harness, put together: hands of this platform, MCP servers elsewhere, web tools."""

from __future__ import annotations

from agents.config import Settings
from agents.hands.servers.port import ToolServers
from agents.hands.servers.remembered import RememberedServers
from agents.hands.servers.remote import RemoteServers
from agents.hands.servers.router import RoutedServers
from agents.vaults.port import Credentials
from agents.web.tools import WebTools


def tool_servers(settings: Settings, credentials: Credentials, *, hands: ToolServers | None = None) -> RoutedServers:
    """Build every way that server calls can go; *hands* remember their calls themselves."""
    guard = settings.network.guard()
    return RoutedServers(
        hands=hands,
        remote=RememberedServers(RemoteServers(settings.mcp, guard, credentials)),
        web=RememberedServers(WebTools(settings.web, guard)),
    )
