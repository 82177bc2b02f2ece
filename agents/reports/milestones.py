"""The milestones of the roadmap in "From Lab to Launch", at 30, 90 and 180 days; its requests are taken as sessions."""

from __future__ import annotations

import math

from agents.experiments.analysis.analysis import Analysis, CellMetrics
from agents.experiments.analysis.metrics import Rates
from agents.reports.checks import Check, Outcome, judged
from agents.reports.findings import metrics_at
from agents.reports.measures import number
from agents.reports.setting import Pair, Setting
from agents.statistics.estimates import Estimate

P95_SECONDS = 0.2
REQUESTS_PER_SECOND = 200.0
MTBF_HOURS = 10.0
USD_PER_TOKEN = 0.0003


def milestones_data(analysis: Analysis, pair: Pair, setting: Setting) -> list[Check]:
    """Hold both topologies to the milestones at *setting*; the outcome is the compared one's."""
    both = [metrics_at(analysis, name, setting) for name in pair]
    if None in both:
        return []
    below, above = (each for each in both if each is not None)
    return [
        Check(
            "30 days: pilot",
            f"p95 latency < {P95_SECONDS * 1000:.0f} ms",
            _milliseconds(below),
            _milliseconds(above),
            _below(above.latency_seconds and above.latency_seconds.p95, P95_SECONDS),
            "of whole sessions, with all their model requests and tool calls",
        ),
        Check(
            "90 days: scale",
            f"{REQUESTS_PER_SECOND:.0f} requests/s",
            f"{number(below.rates.completed_per_second)}/s",
            f"{number(above.rates.completed_per_second)}/s",
            "pass" if above.rates.completed_per_second >= REQUESTS_PER_SECOND else "fail",
            "sessions that ended well, at the load that was offered",
        ),
        Check(
            "90 days: reliability",
            f"MTBF > {MTBF_HOURS:.0f} h",
            _mtbf(below.rates),
            _mtbf(above.rates),
            _mtbf_outcome(above.rates),
            _mtbf_remark(above),
        ),
        Check(
            "180 days: full production",
            f"cost per token < {USD_PER_TOKEN} USD: {USD_PER_TOKEN * 1_000_000:.0f} per million",
            _usd(below.rates.usd_per_token),
            _usd(above.rates.usd_per_token),
            _cost_outcome(above.rates.usd_per_token),
            "read and written tokens; GPUs and hands that were held, used or not",
        ),
    ]


def _milliseconds(metrics: CellMetrics) -> str:
    return "–" if metrics.latency_seconds is None else f"{number(metrics.latency_seconds.p95.value * 1000)} ms"


def _below(estimate: Estimate | None, limit: float) -> Outcome:
    if estimate is None:
        return "open"
    return judged(estimate, lambda value: value < limit)


def _mtbf(rates: Rates) -> str:
    if rates.mtbf_hours is None:
        return f"no failure in {duration(rates.window_seconds / 3600)}"
    return duration(rates.mtbf_hours)


def duration(hours: float) -> str:
    """Return *hours* in words: hours, minutes or, below two of those, seconds."""
    if hours >= 1:
        return f"{number(hours)} h"
    return f"{hours * 60:.0f} min" if hours >= 1 / 30 else f"{hours * 3600:.0f} s"


def shown_mtbf_hours(rates: Rates) -> float:
    """The MTBF that a window without failures shows with 95 % confidence, were failures exponential: window / 3.0."""
    return rates.window_seconds / 3600 / -math.log(0.05)


def _mtbf_outcome(rates: Rates) -> Outcome:
    if rates.mtbf_hours is not None:
        return "pass" if rates.mtbf_hours > MTBF_HOURS else "fail"
    return "pass" if shown_mtbf_hours(rates) > MTBF_HOURS else "open"


def _mtbf_remark(metrics: CellMetrics) -> str:
    rates = metrics.rates
    killed = f"; a process was killed {metrics.faults} times" if metrics.faults else ""
    if rates.mtbf_hours is not None:
        return f"a failed session is a failure{killed}"
    shown = duration(shown_mtbf_hours(rates))
    return f"so long without one shows an MTBF above {shown} with 95 % confidence, not more{killed}"


def _usd(value: float | None) -> str:
    return "–" if value is None else f"{number(value * 1_000_000)} USD per million"


def _cost_outcome(value: float | None) -> Outcome:
    if value is None:
        return "open"
    return "pass" if value < USD_PER_TOKEN else "fail"
