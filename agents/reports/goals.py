"""The proof's goals: what the compared topology is to reach as a ratio to the baseline, in the same run.

A goal is met when its whole 95 % interval meets it, missed when none of the interval does, and open in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.experiments.analysis.analysis import Analysis
from agents.experiments.analysis.comparisons import Comparison
from agents.reports.checks import Check, judged
from agents.reports.findings import comparison_at, metrics_at
from agents.reports.measures import counted, number, with_interval
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
    compared = metrics_at(analysis, pair.compared, setting)
    killed = compared.faults if compared else 0
    return [_check(goal, comparison, killed) for goal, comparison in found if comparison is not None]


def _check(goal: Goal, comparison: Comparison, killed: int) -> Check:
    paired = comparison.paired
    ratio = comparison.ratios.get(goal.statistic) if goal.statistic else paired.ratio
    place = "over all loads" if comparison.load is None else f"at load {comparison.load:g}"
    remark = f"{place}; {counted(paired.pairs, comparison.pairs_of)}"
    if ratio is None and goal.statistic:
        return Check(goal.name, goal.asked, "1", "–", "open", f"{remark}; no ratio")
    if ratio is None:
        return _without_ratio(goal, comparison, remark, killed)
    return Check(goal.name, goal.asked, "1", with_interval(ratio), judged(ratio, goal.met), remark)


def _without_ratio(goal: Goal, comparison: Comparison, remark: str, killed: int) -> Check:
    """Some round has 0 of it, so means are held against each other, which have no interval: the goal is met only where
    the difference is significant, or nothing is left of what is to become less. 0 against 0 shows nothing, unless
    *killed* processes were to make it more."""
    below, above = comparison.paired.baseline_mean, comparison.paired.candidate_mean
    if below == 0 and above == 0:
        if goal.measure == FAILURES and killed:
            return Check(
                goal.name, goal.asked, "0", "0", "pass", f"{remark}; no failure at all, a process killed {killed} times"
            )
        return Check(goal.name, goal.asked, "0", "0", "open", f"{remark}; none in either")
    told = (goal.name, goal.asked, number(below), number(above))
    remark += "; means, for some round has 0 of it and ratios no interval"
    if not (above >= goal.limit * below if goal.at_least else above <= goal.limit * below):
        return Check(*told, "fail", remark)
    if comparison.verdict == Verdict.BETTER or above == 0:
        return Check(*told, "pass", remark)
    return Check(*told, "open", f"{remark}; {comparison.verdict}")
