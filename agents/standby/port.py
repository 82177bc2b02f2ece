"""The port to whoever decides where new sessions go, as a gateway sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agents.standby.breaker import Forced, Health, Switch


@dataclass(frozen=True, slots=True)
class StandbyReport:
    """How the breaker stands, why, and what it sees."""

    switch: Switch
    health: Health
    replicas: Sequence[str]
    """Names of the monolith's replicas that are there."""
    share: float
    """The part of the new sessions that goes to the monolith."""

    def wire(self) -> dict[str, Any]:
        """Return what people are shown."""
        switch, health = self.switch, self.health
        return {
            "mode": switch.mode.value,
            "forced": switch.forced,
            "reason": switch.reason,
            "since": switch.since or None,
            "monolith_share": self.share,
            "switches": switch.switches,
            "requests": health.requests,
            "lost": health.failed,
            "outage": health.outage,
            "replicas": list(self.replicas),
        }

    @property
    def figures(self) -> dict[str, float]:
        """What metrics are made of."""
        return {
            "share_of_new_sessions": self.share,
            "switches": self.switch.switches,
            "replicas": len(self.replicas),
            "path_requests": self.health.requests,
            "path_requests_lost": self.health.failed,
            "path_outage": float(self.health.outage is not None),
        }


class Standby(Protocol):
    """The breaker between the parts and the monolith beside them."""

    def share(self) -> float:
        """Return the part of the new sessions that goes to the monolith, as last heard; without waiting."""
        ...

    async def report(self) -> StandbyReport:
        """Return how it stands. Raises Unavailable."""
        ...

    async def force(self, mode: Forced | None) -> StandbyReport:
        """Send all new sessions one way until told otherwise; None lets the breaker decide. Raises Unavailable."""
        ...
