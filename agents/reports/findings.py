"""Looking things up in the analysis of an experiment: figures of a setting, and comparisons of the shown pair."""

from __future__ import annotations

from agents.experiments.analysis.analysis import Analysis, CellMetrics
from agents.experiments.analysis.comparisons import Comparison
from agents.reports.setting import Pair, Setting


def metrics_at(analysis: Analysis, topology: str, setting: Setting) -> CellMetrics | None:
    """Return what *topology* did at *setting*, all workloads together."""
    for each in analysis.cells:
        cell = each.cell
        if (cell.topology, cell.workload) == (topology, analysis.all_workloads) and setting == Setting(
            cell.arrivals, cell.load
        ):
            return each
    return None


def comparison_at(analysis: Analysis, pair: Pair, setting: Setting, measure: str) -> Comparison | None:
    """Return how *pair* compares by *measure* at *setting*, all workloads together; a measure over all loads has the
    setting's kind of arrivals."""
    for each in analysis.comparisons:
        if (
            (each.measure, each.topology, each.workload) == (measure, pair.compared, analysis.all_workloads)
            and each.arrivals == setting.arrivals
            and each.load in (None, setting.load)
        ):
            return each
    return None
