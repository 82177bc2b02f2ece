"""The tool servers of a harness, put together: hands of this platform, MCP servers elsewhere, web tools."""

from __future__ import annotations

from agents.config import Settings
from agents.economics.call_prices import PricedServers
from agents.economics.price_book import PriceBook
from agents.hands.deployed.records import HandRecords
from agents.hands.servers.port import ToolServers
from agents.hands.servers.remembered import RememberedServers
from agents.hands.servers.remote import RemoteServers
from agents.hands.servers.router import RoutedServers
from agents.vaults.port import Credentials
from agents.web.tools import WebTools


def tool_servers(
    settings: Settings,
    credentials: Credentials,
    records: HandRecords,
    prices: PriceBook,
    *,
    hands: ToolServers | None = None,
) -> ToolServers:
    """Build every way that server calls can go; *hands* remember their calls themselves."""
    guard = settings.network.guard()
    ways = RoutedServers(
        hands=hands,
        remote=RememberedServers(RemoteServers(settings.mcp, guard, credentials)),
        web=RememberedServers(WebTools(settings.web, guard)),
    )

    async def contract(hand: str) -> str:
        return (await records.get(hand)).contract

    return PricedServers(ways, prices, contract)
