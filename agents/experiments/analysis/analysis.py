"""From the trace of an experiment to what it found: figures per topology and load, compared with the baseline's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

from agents.errors import InvalidRequest
from agents.experiments.analysis.at_goal import SERVED_SHARE, AtGoal, at_goal, by_round
from agents.experiments.analysis.comparisons import (
    GOAL_MEASURES,
    ROUND_MEASURES,
    TIME_MEASURES,
    Comparison,
    judged,
    of_requests,
    of_rounds,
)
from agents.experiments.analysis.metrics import (
    Distribution,
    FiguresByRound,
    Rates,
    distribution,
    rates,
    round_times,
)
from agents.experiments.figures_of_rounds import RoundFigures
from agents.experiments.plan import Plan
from agents.experiments.trace_rows import TraceRow
from agents.experiments.trace_samples import Cell, SessionSamples, sessions_of, together

TOGETHER = "all"
"""Stands for the workload where sessions of several are counted together."""


@dataclass(frozen=True, slots=True)
class CellMetrics:
    """What one topology did with one workload at one load, over all rounds."""

    cell: Cell
    rounds: int
    rates: Rates
    latency_seconds: Distribution | None
    """From when a session was due to the end of its turn; one that never ended counts with the least it can be."""
    ttft_seconds: Distribution | None
    """From when a session was due to its first text."""
    metered_usd_per_session: float
    """By tokens and calls, as a tenant would be billed; see ``rates`` for what the machines cost."""
    faults: int = 0
    """Processes of the platform that were killed meanwhile."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an experiment found, in the order of topology, workload, arrivals and load."""

    experiment: str
    baseline: str
    all_workloads: str
    """The workload's name under which all of them are counted together; what rounds cost is told under it."""
    served_share: float
    """Of sessions that must meet the goal for a load to count as kept."""
    cells: tuple[CellMetrics, ...]
    at_goal: tuple[AtGoal, ...]
    comparisons: tuple[Comparison, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it; the same run gives the same text."""
        return asdict(self)


def analyse(plan: Plan, rows: Iterable[TraceRow], figures: Sequence[RoundFigures] = ()) -> Analysis:
    """Return what the trace *rows* and the rounds' *figures* say.

    Raises InvalidRequest for a trace or figures that do not fit the plan, and where SciPy is missing.
    """
    of_all = TOGETHER if len(plan.workloads) > 1 else next(iter(plan.workloads))
    samples = _with_all(sessions_of(plan, rows), of_all)
    if not samples:
        raise InvalidRequest("the trace has no session that was due after the warm-up")
    kept = _by_round(figures)
    window = plan.seconds - plan.warm_up_seconds
    of_cells: dict[Cell, FiguresByRound] = {
        cell: kept.get((cell.topology, cell.arrivals, cell.load), {}) if cell.workload == of_all else {}
        for cell in samples
    }
    by_rounds = {
        cell: {number: rates(each, [number], window, of_cells[cell]) for number in each.done}
        for cell, each in samples.items()
        if cell.workload == of_all
    }
    overall = {cell: rates(each, each.done, window, of_cells[cell]) for cell, each in samples.items()}
    return Analysis(
        experiment=plan.name,
        baseline=plan.baseline,
        all_workloads=of_all,
        served_share=SERVED_SHARE,
        cells=tuple(_metrics(cell, samples[cell], overall[cell]) for cell in samples),
        at_goal=tuple(at_goal(*key, {cell.load: overall[cell] for cell in cells}) for key, cells in _loads(samples)),
        comparisons=tuple(judged([*_in_cells(plan, samples, by_rounds), *_at_goal(plan, by_rounds)])),
    )


def _with_all(samples: Mapping[Cell, SessionSamples], name: str) -> dict[Cell, SessionSamples]:
    """Add what several workloads come to together, as a workload called *name*."""
    if name != TOGETHER:
        return dict(samples)
    groups: dict[Cell, list[SessionSamples]] = {}
    for cell, each in samples.items():
        groups.setdefault(replace(cell, workload=name), []).append(each)
    found = {**samples, **{cell: together(parts) for cell, parts in groups.items()}}
    return {cell: found[cell] for cell in sorted(found)}


def _by_round(figures: Iterable[RoundFigures]) -> dict[tuple[str, str, float], FiguresByRound]:
    found: dict[tuple[str, str, float], dict[int, RoundFigures]] = {}
    for each in figures:
        rounds = found.setdefault((each.topology, each.arrivals, each.load), {})
        if each.round in rounds:
            raise InvalidRequest(
                f"the figures of round {each.round} are there twice: {each.topology}, {each.arrivals}, "
                f"load {each.load:g}"
            )
        rounds[each.round] = each
    return dict(found)


def _metrics(cell: Cell, samples: SessionSamples, overall: Rates) -> CellMetrics:
    return CellMetrics(
        cell=cell,
        rounds=len(samples.done),
        rates=overall,
        latency_seconds=distribution(samples.latency_seconds),
        ttft_seconds=distribution(samples.ttft_seconds),
        metered_usd_per_session=float(samples.metered_usd.mean()),
        faults=samples.faults,
    )


def _loads(cells: Iterable[Cell]) -> Iterator[tuple[tuple[str, str, str], list[Cell]]]:
    """Yield the cells, which are in order, that only differ in their load."""
    for key, group in groupby(cells, lambda cell: (cell.topology, cell.workload, cell.arrivals)):
        yield key, list(group)


def _in_cells(
    plan: Plan, samples: Mapping[Cell, SessionSamples], by_rounds: Mapping[Cell, Mapping[int, Rates]]
) -> Iterator[Comparison]:
    times = {cell: {number: round_times(samples[cell], number) for number in samples[cell].done} for cell in by_rounds}
    for cell in samples:
        baseline = replace(cell, topology=plan.baseline)
        if cell == baseline or baseline not in samples:
            continue
        yield from of_requests(cell, samples[cell], plan.baseline, samples[baseline])
        if cell in by_rounds:
            yield from of_rounds(cell, times[cell], plan.baseline, times[baseline], TIME_MEASURES)
            yield from of_rounds(cell, by_rounds[cell], plan.baseline, by_rounds[baseline], ROUND_MEASURES)


def _at_goal(plan: Plan, by_rounds: Mapping[Cell, Mapping[int, Rates]]) -> Iterator[Comparison]:
    reached = {key: by_round(*key, {cell.load: by_rounds[cell] for cell in cells}) for key, cells in _loads(by_rounds)}
    for (topology, workload, arrivals), rounds in reached.items():
        baseline = reached.get((plan.baseline, workload, arrivals))
        if topology == plan.baseline or baseline is None:
            continue
        # Any load: what is compared has none of its own.
        cell = Cell(topology, workload, arrivals, 0.0)
        for each in of_rounds(cell, rounds, plan.baseline, baseline, GOAL_MEASURES):
            yield replace(each, load=None, measure=f"{each.measure}_at_goal")
