"""The tool servers of a harness, put together: hands of this platform, MCP servers elsewhere, web tools."""

from __future__ import annotations

from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.call_prices import PricedServers, contract_texts
from agents.economics.price_book import PriceBook
from agents.hands.deployed.records import HandRecords
from agents.hands.servers.cache import CacheCounts, CachedServers
from agents.hands.servers.port import PlacedServers
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
    hands: PlacedServers | None = None,
    counts: CacheCounts | None = None,
) -> PlacedServers:
    """Build every way that server calls can go; *hands* remember their calls themselves.

    *counts* are kept up: those of results that were answered from memory.
    """
    guard = settings.network.guard()
    ways = RoutedServers(
        hands=hands,
        remote=RememberedServers(RemoteServers(settings.mcp, guard, credentials)),
        web=RememberedServers(WebTools(settings.web, guard)),
    )
    # Around all ways, for a call may change what another one has read; within the prices, for a hit has its own.
    kept = CachedServers(ways, settings.hand_cache, SystemClock(), counts)
    return PricedServers(kept, prices, contract_texts(records))
