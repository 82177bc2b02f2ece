"""How the calls of a hand's version went: counted by outcome and latency, so that every promise can be held against it.

Latencies are counted in classes, each a tenth above the one before it: what is said of them is right to a tenth.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.governance.contract import Sla
from agents.hands.servers.port import Outcome

SHORT, LONG = 10, 3600
"""Seconds that one row is of: calls are counted twice, finely for verdicts and coarsely for reports."""
KEPT_SECONDS: Mapping[int, int] = {SHORT: 3600, LONG: 31 * 86_400}
_LEAST_SECONDS = 0.001
_STEP = 1.1
_MOST_CLASS = 170
_SLOW_PART = 0.05
"""More slow calls than this, and the 95th of 100 is one of them."""
_CHANCE = 0.01
"""How unlikely it must be that a version which keeps its promises looks as bad as this."""


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """Calls of one version (an id) with one outcome and class of latency, in *span* seconds from ``moment`` on."""

    hand: str
    span: int
    moment: int
    outcome: Outcome
    latency: int
    calls: int


def latency_class(seconds: float) -> int:
    """Return the class of a latency."""
    if seconds <= _LEAST_SECONDS:
        return 0
    return min(math.ceil(math.log(seconds / _LEAST_SECONDS) / math.log(_STEP) - 1e-9), _MOST_CLASS)


def longest_of(latency: int) -> float:
    """Return the longest latency of a class, in seconds."""
    return _LEAST_SECONDS * _STEP**latency


@dataclass(slots=True)
class Tally:
    """Calls of one version, counted."""

    counts: Counter[tuple[Outcome, int]] = field(default_factory=lambda: Counter[tuple[Outcome, int]]())

    def add(self, outcome: Outcome, latency: int, calls: int = 1) -> None:
        self.counts[outcome, latency] += calls

    @property
    def calls(self) -> int:
        return self.counts.total()

    @property
    def answered(self) -> int:
        """Calls that the hand answered, be it by an error of the tool."""
        return sum(calls for (outcome, _), calls in self.counts.items() if outcome in ("ok", "tool_error"))

    @property
    def errors(self) -> int:
        return sum(calls for (outcome, _), calls in self.counts.items() if outcome == "tool_error")

    def slow(self, seconds: float) -> int:
        """Answered calls that took longer than *seconds*."""
        bound = latency_class(seconds)
        return sum(calls for latency, calls in self._latencies().items() if latency > bound)

    @property
    def p95_seconds(self) -> float | None:
        """What 95 of 100 answered calls were answered within; None without any."""
        left = math.ceil(self.answered * (1 - _SLOW_PART))
        for latency, calls in sorted(self._latencies().items()):
            left -= calls
            if left <= 0:
                return longest_of(latency)
        return None

    def _latencies(self) -> Counter[int]:
        found = Counter[int]()
        for (outcome, latency), calls in self.counts.items():
            if outcome in ("ok", "tool_error"):
                found[latency] += calls
        return found


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise, and what is left of it. All are parts of calls: so many may be bad, so many were."""

    name: str
    promised: float
    measured: float | None
    """None without calls."""
    calls: int
    bad: int
    allowed: float
    """Part of the calls that may be bad."""

    @property
    def used(self) -> float:
        """Part of the error budget that is used up; above 1 the promise is broken. It is also the rate of burn."""
        return self.bad / self.calls / self.allowed if self.calls else 0.0


def objectives(sla: Sla, tally: Tally) -> tuple[Objective, Objective, Objective]:
    """Hold what was counted against what was promised."""
    calls, answered, errors = tally.calls, tally.answered, tally.errors
    slow = tally.slow(sla.p95_seconds)
    availability = answered / calls if calls else None
    error_rate = errors / answered if answered else None
    return (
        Objective("availability", sla.availability, availability, calls, calls - answered, 1 - sla.availability),
        Objective("error_rate", sla.error_rate, error_rate, answered, errors, sla.error_rate),
        Objective("p95_seconds", sla.p95_seconds, tally.p95_seconds, answered, slow, _SLOW_PART),
    )


def breach(sla: Sla, tally: Tally) -> str | None:
    """Return which promise was broken, with the figures, by more than chance explains; None when none was."""
    if tally.calls < sla.min_calls:
        return None
    for each in objectives(sla, tally):
        if each.used > 1 and chance_of(each.bad, each.calls, each.allowed) < _CHANCE:
            words = {
                "availability": "calls were not answered",
                "error_rate": "answered calls were errors of its tools",
                "p95_seconds": f"calls took more than {sla.p95_seconds:g} s",
            }
            return f"{each.bad} of {each.calls} {words[each.name]}, and {each.allowed:.3g} of them may"
    return None


def chance_of(bad: int, calls: int, part: float) -> float:
    """Return how likely *bad* or more of *calls* are when each is with probability *part*; for more than expected."""
    if part >= 1:
        return 1.0
    term = math.exp(
        math.lgamma(calls + 1)
        - math.lgamma(bad + 1)
        - math.lgamma(calls - bad + 1)
        + bad * math.log(part)
        + (calls - bad) * math.log1p(-part)
    )
    total, number = term, bad
    while number < calls and term > total * 1e-9:
        term *= (calls - number) / (number + 1) * part / (1 - part)
        total, number = total + term, number + 1
    return total
