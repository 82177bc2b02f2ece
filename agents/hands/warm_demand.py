"""How many sandboxes of each kind to keep warm: as many as were wanted lately, and no more.

A claim that finds none ready doubles the number of its kind; unused, it halves again and again. Kinds are what
packages a sandbox has. The plain kind never has fewer than the operator asks for, any other goes back to none.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.clock import Clock
from agents.hands.layer import Layer

HALF_LIFE_SECONDS = 60.0


@dataclass(slots=True)
class _Wanted:
    size: float
    since: float


class WarmDemand:
    """The sizes of the stocks of one host."""

    def __init__(self, least: int, most: int, clock: Clock) -> None:
        """*least* sandboxes of the plain kind, *most* of all kinds together; with no *least* there are none at all."""
        self._least = least
        self._most = max(least, most) if least else 0
        self._clock = clock
        self._kinds: dict[Layer | None, _Wanted] = {None: _Wanted(least, clock.monotonic())}

    def claimed(self, kind: Layer | None, *, found: bool) -> None:
        """Take note of a claim, and whether a warm one was there."""
        size = self._size(kind)
        others = sum(round(self._size(other)) for other in self._kinds if other != kind)
        wanted = size if found else min(max(1.0, 2 * size), max(0.0, self._most - others))
        self._kinds[kind] = _Wanted(max(size, wanted), self._clock.monotonic())

    def sizes(self) -> dict[Layer | None, int]:
        """Return how many of each kind there should be, the plain one first."""
        sizes = {kind: round(self._size(kind)) for kind in self._kinds}
        self._kinds = {kind: wanted for kind, wanted in self._kinds.items() if kind is None or sizes[kind]}
        return {kind: sizes[kind] for kind in self._kinds}

    def _size(self, kind: Layer | None) -> float:
        floor = float(self._least) if kind is None else 0.0
        wanted = self._kinds.get(kind)
        if wanted is None:
            return floor
        age = self._clock.monotonic() - wanted.since
        return max(floor, wanted.size * 0.5 ** (age / HALF_LIFE_SECONDS))
