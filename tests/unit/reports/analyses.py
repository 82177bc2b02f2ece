"""Analyses made by hand, so that what is said of their figures can be held against them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agents.experiments.analysis.analysis import Analysis, CellMetrics
from agents.experiments.analysis.at_goal import AtGoal
from agents.experiments.analysis.comparisons import Comparison
from agents.experiments.analysis.metrics import Distribution, Rates
from agents.experiments.trace_samples import Cell
from agents.reports.setting import Pair, Setting
from agents.statistics.estimates import Estimate
from agents.statistics.paired import PairedComparison
from agents.statistics.verdicts import Verdict

PAIR = Pair("monolith", "decoupled")
SETTING = Setting("poisson", 2.0)
RATES = Rates(
    window_seconds=3600,
    sessions=100,
    failed=1,
    unfinished=0,
    completed_per_second=2.0,
    served_per_second=1.5,
    served_share=0.75,
    error_rate=0.01,
    retry_rate=0.02,
    failures_per_hour=1.0,
    mtbf_hours=1.0,
    tokens_per_second=500.0,
    output_tokens_per_second=100.0,
    gpu_utilisation=0.5,
    hand_utilisation=0.25,
    usd_per_session=0.0004,
    usd_per_token=0.000002,
    usd_per_output_token=0.00001,
)


def metrics(topology: str, p95: Estimate | None = None, **rates: Any) -> CellMetrics:
    """What *topology* did at SETTING, all workloads together."""
    tail = p95 or Estimate(4.0, 3.5, 5.0)
    latency = Distribution(100, Estimate(2.0), Estimate(1.5), tail, Estimate(6.0), 1.0, 0.5)
    cell = Cell(topology, "all", SETTING.arrivals, SETTING.load)
    return CellMetrics(cell, 3, replace(RATES, **rates), latency, latency, 0.001)


def comparison(measure: str, ratio: Estimate | None, below: float = 4.0, above: float = 2.0, **more: Any) -> Comparison:
    """How decoupled compares with monolith by *measure*."""
    paired = PairedComparison(30, below, above, Estimate(above - below), ratio, -4.0, 0.001, 3.0, 0.002, -1.2, -0.9)
    fields: dict[str, Any] = {"better": "lower", "pairs_of": "requests", "load": SETTING.load, "workload": "all"}
    fields |= {"p_holm": 0.004, "verdict": Verdict.BETTER, "confirmed": True, **more}
    return Comparison(
        measure=measure,
        topology="decoupled",
        baseline="monolith",
        arrivals=SETTING.arrivals,
        unpaired=0,
        paired=paired,
        **fields,
    )


def analysis(
    *comparisons: Comparison, cells: tuple[CellMetrics, ...] | None = None, kept: float | None = 2.0
) -> Analysis:
    """An analysis of the two topologies."""
    both = (metrics("decoupled"), metrics("monolith")) if cells is None else cells
    at_goal = AtGoal("decoupled", "all", SETTING.arrivals, kept, 1.5, 2.0, 0.0004, 0.000002)
    return Analysis("made up", "monolith", "all", 0.95, both, (at_goal,), comparisons)
