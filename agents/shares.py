"""Dealing out a bounded number of places to several callers, so that none can keep the others out.

The rule, for *most* places of which any one caller has a right to a *share*: a caller within its share
gets every free place; beyond its share it gets one only while a reserve, an eighth of all places, stays
free behind it. So one caller may use nearly everything while the others are idle, the others always
find the reserve, and what the greedy caller gives back goes to them first. Nothing is taken away.
With a share of 1 there is no reserve.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

_RESERVE = 8

Refusal = Literal["full", "beyond share"]


class Shares:
    """Who holds how many of *most* places. Callers that hold none take no memory."""

    def __init__(self, most: int, share: float) -> None:
        self.most = most
        self.taken = 0
        self._fair = max(int(most * share), 1)
        self._reserve = max(most // _RESERVE, 1) if share < 1 else 0
        self._held: Counter[str] = Counter()

    def held(self, caller: str) -> int:
        return self._held[caller]

    def refusal(self, caller: str, count: int = 1) -> Refusal | None:
        """Say why *caller* may not take *count* more places just now; None when it may."""
        free = self.most - self.taken
        if count > free:
            return "full"
        if self._held[caller] + count > self._fair and count > free - self._reserve:
            return "beyond share"
        return None

    def take(self, caller: str, count: int = 1) -> None:
        """Count places as taken, also beyond the bound: what runs already has to be counted."""
        self.taken += count
        self._held[caller] += count

    def give_back(self, caller: str, count: int = 1) -> None:
        self.taken -= count
        self._held[caller] -= count
        if self._held[caller] <= 0:
            del self._held[caller]
