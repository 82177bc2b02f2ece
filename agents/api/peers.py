"""Refusing foreign peers: behind the fast proxy, replicas listen on all interfaces (ray.md, caution 1).

While the configured host is a loopback address nobody outside this machine was invited, so the
gateway itself refuses connections that do not come from one of the machine's own addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import psutil

from agents.clock import Clock
from agents.config import Settings

_REFRESH_SECONDS = 30.0
"""Interfaces come and go rarely; listing them costs about a millisecond."""


def own_addresses() -> frozenset[str]:
    """Return the addresses of this machine's interfaces."""
    found: set[str] = set()
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            # Link-local IPv6 addresses carry their interface after a percent sign.
            found.add(entry.address.partition("%")[0])
    return frozenset(found)


def is_loopback(host: str) -> bool:
    """Whether a configured host is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PeerGuard:
    """Tells this machine's own connections from foreign ones."""

    def __init__(self, clock: Clock, addresses: Callable[[], frozenset[str]] = own_addresses) -> None:
        self._clock = clock
        self._addresses = addresses
        self._known: frozenset[str] = frozenset()
        self._listed_at: float | None = None

    def admits(self, client: tuple[str, int] | None) -> bool:
        """Whether the peer is this machine; a peer without an address is not known to be."""
        if client is None:
            return False
        host = client[0].partition("%")[0]
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return address.is_loopback or str(address) in self._current()

    def _current(self) -> frozenset[str]:
        now = self._clock.monotonic()
        if self._listed_at is None or now - self._listed_at > _REFRESH_SECONDS:
            self._known, self._listed_at = self._addresses(), now
        return self._known


def guard_for(settings: Settings, clock: Clock) -> PeerGuard | None:
    """Return the guard that these settings call for, or None."""
    needed = settings.proxy == "haproxy" and is_loopback(settings.host)
    return PeerGuard(clock) if needed else None
