"""What the replicas of one brain's versions may cost together: each has what the others leave.

Versions are scaled apart, but by policies in one process (Serve's controller), and there they share a purse. It is
empty when that process is new: until the others have said what they cost, they count at the least that they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

_SAID_SECONDS = 60.0
"""A version is asked several times a second. One that has not been for so long is no longer deployed."""


class Purse:
    """The money of one brain. USD per hour; moments are in seconds."""

    def __init__(self) -> None:
        self._costs: dict[str, tuple[Decimal, float]] = {}

    def left(self, ceiling: Decimal, others: Mapping[str, Decimal], now: float) -> Decimal:
        """Return what one version may cost beside *others* (by id), each of which needs at least so much."""
        return ceiling - sum(max(least, self._cost(other, now)) for other, least in others.items())

    def say(self, version: str, cost: Decimal, now: float) -> None:
        """Take note of what a version (an id) costs, or is about to."""
        self._costs[version] = (cost, now)

    def _cost(self, version: str, now: float) -> Decimal:
        cost, said = self._costs.get(version, (Decimal(0), now))
        return cost if now - said < _SAID_SECONDS else Decimal(0)
