"""The proof's goals: what the compared topology is to reach as a ratio to the baseline, in the same run.

A goal is met when its whole 95 % interval meets it, missed when none of the interval does, and open in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.experiments.analysis.analysis import Analysis, CellMetrics
from agents.experiments.analysis.comparisons import Comparison
from agents.reports.checks import Check, Outcome, judged
from agents.reports.findings import comparison_at, metrics_at
from agents.reports.measures import counted, number, with_interval
from agents.reports.milestones import duration, shown_mtbf_hours
from agents.reports.setting import Pair, Setting
from agents.statistics.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio to the baseline that the proof is to reach."""

    name: str
    measure: str
    statistic: str
    """A quantile of the analysis' ratios; empty for the ratio of the pairs."""
    limit: float
    at_least: bool
    under_faults: bool = False
    """Whether it is about what becomes of sessions while processes are killed; the others are about calm platforms."""

    @property
    def asked(self) -> str:
        """In words."""
        if self.at_least:
            return f"≥ {self.limit:g} times"
        return f"≤ {self.limit:.3g} times"

    def met(self, ratio: float) -> bool:
        """Whether *ratio* meets it."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


FAILURES = "failures_per_hour"
GOALS = (
    Goal("throughput at the goal", "served_per_second_at_goal", "", 3.0, at_least=True),
    Goal("latency p95", "latency_seconds", "p95", 0.30, at_least=False),
    Goal("time to the first text, p95", "ttft_seconds", "p95", 0.10, at_least=False),
    Goal("cost of a session", "usd_per_session", "", 1 - 0.67, at_least=False),
    # An MTBF 60 % longer is as many failures an hour over 1.6; a rate can be 0, and an MTBF then is not a number.
    Goal("failures per hour (MTBF +60 %)", FAILURES, "", 1 / 1.6, at_least=False, under_faults=True),
    Goal("sessions with a retry", "retry_rate", "", 0.75, at_least=False, under_faults=True),
)


def goals_data(analysis: Analysis, pair: Pair, setting: Setting, *, faults: bool) -> list[Check]:
    """Hold the compared topology's ratios to the baseline to the goals of a plan with or without *faults*; what was not
    measured is left out."""
    goals = [goal for goal in GOALS if goal.under_faults == faults]
    found = ((goal, comparison_at(analysis, pair, setting, goal.measure)) for goal in goals)
    both = [metrics for name in reversed(pair) if (metrics := metrics_at(analysis, name, setting))]
    return [_check(goal, comparison, both) for goal, comparison in found if comparison is not None]


def _check(goal: Goal, comparison: Comparison, both: Sequence[CellMetrics]) -> Check:
    paired = comparison.paired
    ratio = comparison.ratios.get(goal.statistic) if goal.statistic else paired.ratio
    place = "over all loads" if comparison.load is None else f"at load {comparison.load:g}"
    remark = f"{place}; {counted(paired.pairs, comparison.pairs_of)}"
    if ratio is None and goal.statistic:
        return Check(goal.name, goal.asked, "1", "–", "open", f"{remark}; no ratio")
    if ratio is None:
        return _without_ratio(goal, comparison, remark, both)
    return Check(goal.name, goal.asked, "1", with_interval(ratio), judged(ratio, goal.met), remark)


def _without_ratio(goal: Goal, comparison: Comparison, remark: str, both: Sequence[CellMetrics]) -> Check:
    """Some round has 0 of it, so means are held against each other, which have no interval: the goal is met only where
    the difference is significant, or nothing is left of what is to become less. 0 against 0 shows nothing, but of
    failures (see :func:`_no_failure`)."""
    below, above = comparison.paired.baseline_mean, comparison.paired.candidate_mean
    if below == 0 and above == 0:
        outcome, said = _no_failure(both) if goal.measure == FAILURES else ("open", "none in either")
        return Check(goal.name, goal.asked, "0", "0", outcome, f"{remark}; {said}")
    told = (goal.name, goal.asked, number(below), number(above))
    remark += "; means, for some round has 0 of it and ratios no interval"
    if not (above >= goal.limit * below if goal.at_least else above <= goal.limit * below):
        return Check(*told, "fail", remark)
    if comparison.verdict == Verdict.BETTER or above == 0:
        return Check(*told, "pass", remark)
    return Check(*told, "open", f"{remark}; {comparison.verdict}")


def _no_failure(both: Sequence[CellMetrics]) -> tuple[Outcome, str]:
    """Judge that no compared round had a failure, in words too: the goal is met where processes of both topologies were
    killed meanwhile, and the MTBF that so short a time shows is said with it."""
    # A round that the other topology lacks is not compared, but its failures are failures all the same.
    if any(each.rates.failed for each in both):
        return "open", "none in the rounds that both had, but in others"
    if not any(each.faults for each in both):
        return "open", "none in either"
    killed = ", ".join(f"{each.faults} in {each.cell.topology}" for each in both)
    said = f"no failure at all; processes killed: {killed}"
    if len(both) < 2 or not all(each.faults for each in both):
        return "open", said
    shown = duration(min(shown_mtbf_hours(each.rates) for each in both))
    return "pass", f"{said}; that shows an MTBF above {shown} with 95 % confidence, not more"
