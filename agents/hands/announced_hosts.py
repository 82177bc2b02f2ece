"""Sandbox hosts in other processes than the fleet's (a monolith's replicas), which say themselves where they are.

Invariant: a living host is never missing from the table. Whoever keeps the table was told of no host when it began,
so it says nothing before every one of them has had the time to announce itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.clock import Clock
from agents.errors import Unavailable
from agents.hands.host_fleet import HostReport
from agents.hands.incarnation import host_of
from agents.hands.placement import HostPlace, HostState

ANNOUNCE_SECONDS = 2.0
"""Between two announcements of one host."""
_SETTLE_SECONDS = 10.0
_UP_SECONDS = 10.0
_GONE_SECONDS = 120.0
"""Serve has killed and replaced by then a replica that is stuck; what a stopped one ran, nobody waits for any more."""


@dataclass(frozen=True, slots=True)
class _Announced:
    report: HostReport
    heard: float


class AnnouncedHosts:
    """The hosts heard of lately, by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._settled = clock.monotonic() + _SETTLE_SECONDS
        self._hosts: dict[str, _Announced] = {}

    def announce(self, report: HostReport) -> None:
        """Take note of a host; a new incarnation takes the place of the one before it."""
        self._hosts[host_of(report.incarnation)] = _Announced(report, self._clock.monotonic())

    def withdraw(self, incarnation: str) -> None:
        """Take note that this incarnation has ended."""
        known = self._hosts.get(host_of(incarnation))
        if known is not None and known.report.incarnation == incarnation:
            del self._hosts[host_of(incarnation)]

    def table(self) -> dict[str, HostPlace]:
        """Return where each host is. Raises Unavailable while one that lives may not have been heard of yet."""
        now = self._clock.monotonic()
        if now < self._settled:
            raise Unavailable("not all sandbox hosts have said yet where they are", retry_after=1.0)
        self._hosts = {name: host for name, host in self._hosts.items() if now - host.heard < _GONE_SECONDS}
        return {name: self._place(host, now) for name, host in self._hosts.items()}

    def _place(self, host: _Announced, now: float) -> HostPlace:
        state = HostState.UP if now - host.heard < _UP_SECONDS else HostState.SILENT
        return HostPlace(state, host.report.incarnation, host.report.address, host.report.leaving)

    def figures(self) -> dict[str, dict[str, Any] | None]:
        """Return what each host said of itself last; None for one that is silent."""
        now = self._clock.monotonic()
        return {
            name: host.report.figures if now - host.heard < _UP_SECONDS else None for name, host in self._hosts.items()
        }
