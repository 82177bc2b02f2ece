"""Spikes of latency: the 95th percentile of each brain, hand or route against its own rolling baseline.

A spike is a recent 95th percentile of more than 1.2 times the baseline's, and one that chance does not explain: the
share of recent observations above that bound is held against the baseline's own share by the binomial distribution.
So a few slow calls of a heavy-tailed brain are none. A spike is over when it was below 1.1 times the baseline for a
whole window. While it lasts its baseline stays what it was, until the spike is older than a whole baseline: what has
been so for so long is the new normal.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from agents.governance.anomalies.anomaly import AnomalyKind, Finding
from agents.governance.anomalies.histogram import Distribution, RollingDistribution
from agents.governance.anomalies.settings import AnomalySettings
from agents.governance.outcomes import chance_of

_SHARE = 0.95
_CHANCE = 1e-4
"""How unlikely it must be that a subject which is as it was looks as bad as this. It is looked at thousands of times a
day."""
_SLOTS_PER_WINDOW = 2
_MAX_SUBJECTS = 128
"""Brains, hands and routes that are watched, least recently seen out first."""


@dataclass(slots=True)
class _Spike:
    since: float
    baseline: Distribution
    calm_since: float | None = None
    """Since when every look has found it over."""


class _Subject:
    def __init__(self, settings: AnomalySettings, slot: float) -> None:
        self.seen = RollingDistribution(settings.baseline_seconds + settings.window_seconds, slot)
        self.spike: _Spike | None = None


class LatencySpikes:
    """Watches latencies by subject; times are seconds that never go backwards."""

    def __init__(self, settings: AnomalySettings) -> None:
        self._settings = settings
        self._slot = settings.window_seconds / _SLOTS_PER_WINDOW
        self._subjects: OrderedDict[str, _Subject] = OrderedDict()

    def observe(self, subject: str, seconds: float, at: float) -> None:
        """Take note of one latency."""
        known = self._subjects.get(subject)
        if known is None:
            if len(self._subjects) >= _MAX_SUBJECTS:
                self._subjects.popitem(last=False)
            known = self._subjects[subject] = _Subject(self._settings, self._slot)
        self._subjects.move_to_end(subject)
        known.seen.add(seconds, at)

    def check(self, at: float) -> Iterator[Finding]:
        """Find the spikes that begin or end now."""
        # The window begins with a slot, so that none is in the window and in the baseline.
        window = (at // self._slot - (_SLOTS_PER_WINDOW - 1)) * self._slot
        for name, subject in self._subjects.items():
            recent = subject.seen.between(window, at + self._slot)
            if subject.spike is None:
                finding = self._begins(name, subject, recent, window, at)
            else:
                finding = self._ends(name, subject, subject.spike, recent, at)
            if finding is not None:
                yield finding

    def _begins(self, name: str, subject: _Subject, recent: Distribution, window: float, at: float) -> Finding | None:
        rules = self._settings
        baseline = subject.seen.between(window - rules.baseline_seconds, window)
        if min(recent.total, baseline.total) < rules.min_samples:
            return None
        before, now = baseline.quantile(_SHARE), recent.quantile(_SHARE)
        bound = max(before * rules.latency_ratio, rules.latency_floor_seconds)
        if now <= bound or not _is_no_chance(recent.above(bound), recent.total, baseline, bound):
            return None
        subject.spike = _Spike(at, baseline)
        words = (
            f"the 95th percentile of {name} is {now:.3g} s over the last {rules.window_seconds:g} s, "
            f"{now / before:.2f} times the {before:.3g} s of the {rules.baseline_seconds:g} s before"
        )
        return Finding(AnomalyKind.LATENCY_SPIKE, name, words, _figures(now, before, recent))

    def _ends(self, name: str, subject: _Subject, spike: _Spike, recent: Distribution, at: float) -> Finding | None:
        rules = self._settings
        before, now = spike.baseline.quantile(_SHARE), recent.quantile(_SHARE)
        if now >= before * rules.latency_ended_ratio:
            spike.calm_since = None
        elif spike.calm_since is None:
            spike.calm_since = at
        old = at - spike.since >= rules.baseline_seconds
        calm = spike.calm_since is not None and at - spike.calm_since >= rules.window_seconds
        if not (old or calm or not recent.total):
            return None
        subject.spike = None
        if old:
            words = f"the 95th percentile of {name} has been {now:.3g} s for so long that it is the new baseline"
        elif recent.total:
            words = f"the 95th percentile of {name} is back at {now:.3g} s"
        else:
            words = f"{name} was not asked any more"
        return Finding(AnomalyKind.LATENCY_SPIKE, name, words, _figures(now, before, recent), over=True)


def _is_no_chance(slow: int, calls: int, baseline: Distribution, bound: float) -> bool:
    # One more slow one than there were: that nothing was slower among so many does not mean that nothing can be.
    usual = (baseline.above(bound) + 1) / (baseline.total + 1)
    return slow > usual * calls and chance_of(slow, calls, usual) < _CHANCE


def _figures(now: float, before: float, recent: Distribution) -> dict[str, float]:
    return {"p95_seconds": now, "baseline_p95_seconds": before, "samples": recent.total}
