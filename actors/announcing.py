"""What a monolith's replica tells the fleet about itself, and what the fleet knows by that.

The fleet keeps no such replica alive, Serve does. It only tells gateways where the owners of sessions and the brains
are, and replicas where the other sandbox hosts are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.link_server import Endpoint
from agents.clock import Clock
from agents.errors import Unavailable
from agents.hands.announced_hosts import AnnouncedHosts
from agents.hands.host_fleet import HostReport


@dataclass(frozen=True, slots=True)
class Announcement:
    """One replica: its name among the members, and where each of its parts listens."""

    name: str
    sessions: Endpoint
    host: HostReport
    brains: Mapping[str, Endpoint]
    """By the brains' ids."""
    hands: Mapping[str, Endpoint] = field(default_factory=lambda: {})
    """By the hands' ids."""


class Announced:
    """The replicas that have announced themselves."""

    def __init__(self, clock: Clock) -> None:
        self.hosts = AnnouncedHosts(clock)
        self._sessions: dict[str, Endpoint] = {}

    def take(self, announcement: Announcement) -> None:
        """Take note of a replica; it says so again every few seconds for as long as it lives."""
        self.hosts.announce(announcement.host)
        self._sessions[announcement.name] = announcement.sessions

    def drop(self, name: str, incarnation: str) -> None:
        """Take note that a replica has ended, and with it the incarnation of its sandbox host."""
        self.hosts.withdraw(incarnation)
        self._sessions.pop(name, None)

    def replicas(self) -> list[str]:
        """Return the names of the replicas heard of just now."""
        return sorted(name for name, figures in self.hosts.figures().items() if figures is not None)

    def sessions(self, name: str) -> Endpoint:
        """Return where a replica's sessions are asked for. Raises Unavailable when it has not said so."""
        try:
            return self._sessions[name]
        except KeyError:
            raise Unavailable(f"{name} has not said yet where it is", retry_after=1.0) from None
