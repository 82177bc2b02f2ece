"""Spikes of cost: one turn against what turns cost, and all spending against its own rate before."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

from agents.governance.anomalies.anomaly import AnomalyKind, Finding
from agents.governance.anomalies.histogram import RollingDistribution
from agents.governance.anomalies.settings import AnomalySettings

_SHARE = 0.95
_DAY = 86_400.0
_HOUR = 3600.0
_SLOTS_PER_WINDOW = 5
_LEAST_BASELINE = 0.5
"""The part of the baseline that must have passed since watching began."""


class TurnCosts:
    """What the turns of the last day have cost, and which turn costs far more than those."""

    def __init__(self, settings: AnomalySettings) -> None:
        self._settings = settings
        self._ended = RollingDistribution(_DAY, _HOUR)

    def ended(self, usd: float, at: float) -> None:
        """Take note of what a whole turn has cost; turns without cost (no price, no model request) do not count."""
        if usd > 0:
            self._ended.add(usd, at)

    def check(self, session_id: str, usd: float, at: float) -> Finding | None:
        """Say whether a turn that has cost *usd* so far is a spike."""
        rules = self._settings
        if usd < rules.session_cost_floor_usd:
            return None
        usual = self._ended.between(at - _DAY, at + _HOUR)
        if usual.total < rules.min_samples:
            return None
        most = usual.quantile(_SHARE)
        if usd <= most * rules.session_cost_ratio:
            return None
        words = f"the turn has cost {usd:.2f} USD so far, {usd / most:.1f} times what 95 of 100 turns cost at most"
        figures = {"turn_usd": usd, "p95_turn_usd": most, "turns": usual.total}
        return Finding(AnomalyKind.SESSION_COST_SPIKE, session_id, words, figures, session_id=session_id)


class SpendingRate:
    """How fast this process's sessions spend, against the rate before."""

    def __init__(self, settings: AnomalySettings) -> None:
        self._settings = settings
        self._slot = settings.window_seconds / _SLOTS_PER_WINDOW
        slots = math.ceil(settings.baseline_seconds / self._slot) + _SLOTS_PER_WINDOW + 1
        self._spent: deque[tuple[int, float]] = deque(maxlen=slots)
        self._began: float | None = None
        self._spike: tuple[float, float] | None = None
        """Since when there is one, and the USD per second before it."""

    def spend(self, usd: float, at: float) -> None:
        """Take note of a cost."""
        number = int(at // self._slot)
        if self._spent and self._spent[-1][0] >= number:
            newest, sum_ = self._spent[-1]
            self._spent[-1] = newest, sum_ + usd
        else:
            self._spent.append((number, usd))

    def check(self, at: float) -> Iterator[Finding]:
        """Find the spike that begins or ends now."""
        if self._began is None:
            self._began = at
        rules = self._settings
        window = (at // self._slot - (_SLOTS_PER_WINDOW - 1)) * self._slot
        recent = self._between(window, at + self._slot)
        now = recent / max(at - window, self._slot)
        if self._spike is not None:
            yield from self._end(now, at, *self._spike)
            return
        begin = max(window - rules.baseline_seconds, self._began // self._slot * self._slot)
        spent = self._between(begin, window)
        if window - begin < rules.baseline_seconds * _LEAST_BASELINE or not spent or recent < rules.cost_floor_usd:
            return
        before = spent / (window - begin)
        if now > before * rules.cost_ratio:
            self._spike = at, before
            words = (
                f"{now * _HOUR:.2f} USD per hour over the last {rules.window_seconds:g} s, "
                f"{now / before:.1f} times the {before * _HOUR:.2f} before"
            )
            yield Finding(AnomalyKind.COST_SPIKE, "platform", words, _figures(now, before))

    def _end(self, now: float, at: float, since: float, before: float) -> Iterator[Finding]:
        rules = self._settings
        if now < before * rules.cost_ended_ratio or at - since >= rules.baseline_seconds:
            self._spike = None
            words = f"{now * _HOUR:.2f} USD per hour, {now / before:.1f} times what was usual"
            yield Finding(AnomalyKind.COST_SPIKE, "platform", words, _figures(now, before), over=True)

    def _between(self, begin: float, end: float) -> float:
        return sum(usd for number, usd in self._spent if begin <= number * self._slot < end)


def _figures(now: float, before: float) -> dict[str, float]:
    return {"usd_per_hour": now * _HOUR, "baseline_usd_per_hour": before * _HOUR}
