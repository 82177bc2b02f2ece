"""Distributions of what was observed lately, in bounded memory.

Values are counted in classes, each 2 % above the one before it, and in slots of time of which the oldest goes when a
new one begins. So a quantile is right to 2 % (a spike is 20 %), and memory does not depend on how much is observed.
"""

from __future__ import annotations

import math
from collections import Counter, deque

_LEAST = 1e-6
_STEP = math.log(1.02)
_MOST_CLASS = 1250
"""About 57 000 times a million of the least value: days in seconds, or thousands of dollars."""


def class_of(value: float) -> int:
    """Return the class of *value*; what is below a millionth is in the first."""
    if value <= _LEAST:
        return 0
    return min(math.ceil(math.log(value / _LEAST) / _STEP - 1e-9), _MOST_CLASS)


def highest_of(number: int) -> float:
    """Return the highest value of a class."""
    return _LEAST * math.exp(_STEP * number)


class Distribution:
    """Counts of values by class."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.total = 0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[class_of(value)] += 1
        self.total += 1

    def merge(self, other: Distribution) -> None:
        """Count all that *other* has."""
        self._counts.update(other._counts)
        self.total += other.total

    def quantile(self, share: float) -> float:
        """Return what *share* of the values are not above; 0 without any."""
        left = math.ceil(self.total * share)
        for number in sorted(self._counts):
            left -= self._counts[number]
            if left <= 0:
                return highest_of(number)
        return 0.0

    def above(self, value: float) -> int:
        """Count the values that are above *value*, to the next class."""
        bound = class_of(value)
        return sum(count for number, count in self._counts.items() if number > bound)


class RollingDistribution:
    """The distributions of the last *span* seconds, in slots of *slot* seconds each."""

    def __init__(self, span: float, slot: float) -> None:
        self._slot = slot
        self._slots: deque[tuple[int, Distribution]] = deque(maxlen=math.ceil(span / slot) + 1)

    def add(self, value: float, at: float) -> None:
        """Count *value*, seen *at* so many seconds; what comes late counts in the newest slot."""
        number = int(at // self._slot)
        if not self._slots or self._slots[-1][0] < number:
            self._slots.append((number, Distribution()))
        self._slots[-1][1].add(value)

    def between(self, begin: float, end: float) -> Distribution:
        """Return what was seen in the slots that begin from *begin* on, before *end*."""
        found = Distribution()
        for number, slot in self._slots:
            if begin <= number * self._slot < end:
                found.merge(slot)
        return found
