"""What each brain has cost within the last hour, minute by minute."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from agents.economics.meter import Spending

WINDOW_MINUTES = 60
"""Whole minutes, and the one that has begun: a window is never shorter than an hour."""


class SpendingWindow:
    """Sums over a sliding hour, by the name of the brain: its versions together."""

    def __init__(self) -> None:
        self._minutes: dict[str, dict[int, int]] = {}

    def learn(self, rows: Iterable[Spending], since: int) -> None:
        """Take *rows* for all that was spent from the minute *since* on; what is older than the window is forgotten."""
        for name, minutes in self._minutes.items():
            oldest = since - WINDOW_MINUTES
            self._minutes[name] = {minute: cost for minute, cost in minutes.items() if oldest <= minute < since}
        for row in rows:
            minutes = self._minutes.setdefault(row.brain.partition("@")[0], {})
            minutes[row.minute] = minutes.get(row.minute, 0) + row.micro_usd

    def total(self, names: Collection[str], now: int) -> int:
        """Return micro-USD of the hour that ends with the minute *now*, of all these brains together."""
        return sum(cost for minute, cost in self._costs(names) if minute >= now - WINDOW_MINUTES)

    def totals(self, now: int) -> Mapping[str, int]:
        """Return the same of every brain that cost anything."""
        return {name: self.total([name], now) for name in self._minutes}

    def minutes_until(self, names: Collection[str], now: int, most: int) -> int:
        """Return the minutes after which no more than *most* micro-USD of what is known now lie within the hour."""
        left, wait = self.total(names, now), 0
        for minute, cost in sorted(self._costs(names)):
            if left <= most:
                break
            if minute >= now - WINDOW_MINUTES:
                left -= cost
                wait = minute + WINDOW_MINUTES + 1 - now
        return wait if left <= most else WINDOW_MINUTES

    def _costs(self, names: Collection[str]) -> Iterator[tuple[int, int]]:
        """Yield minutes and what one of these brains cost in each."""
        for name in names:
            yield from self._minutes.get(name, {}).items()
