"""How far the model is from the live run: the same arrivals are played on it, and what comes of them compared.

Each session takes the course that it took in the run, its steps, tokens and tools, for these do not depend on the
platform; how long they take is the model's. Of a session that never ended the course is drawn by lot.

What is counted, and how what never ended is counted, is as in ``agents.experiments.trace_samples``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from agents.experiments.figures_of_rounds import RoundFigures, gpu_seconds
from agents.experiments.model.calibration import Calibration, NothingToLearn
from agents.experiments.model.models import Modelled, models_of
from agents.experiments.model.queueing.inputs import Requests, Shape, Stretch, Workload
from agents.experiments.model.queueing.results import Run
from agents.experiments.model.queueing.simulation import simulate
from agents.experiments.model.turn_rows import Source, TurnRows, Turns, turns_of
from agents.experiments.plan import Plan
from agents.experiments.trace_rows import TraceRow
from agents.experiments.trace_samples import SessionSamples, sessions_of, together
from agents.statistics.samples import Floats
from agents.statistics.scipy_stats import stats

Metric = Literal[
    "throughput_per_second",
    "latency_p50_seconds",
    "latency_p95_seconds",
    "first_text_p50_seconds",
    "first_text_p95_seconds",
    "gpu_busy_share",
]
_SPARE = 4
"""In a closed loop the model may serve more requests than the live run did: so many times as many are at hand."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One figure of the live run and of the model."""

    metric: Metric
    measured: float
    modelled: float

    @property
    def relative_error(self) -> float | None:
        """By how much the model is above (below: negative) what was measured, as a part of that; None of nothing."""
        return (self.modelled - self.measured) / self.measured if self.measured else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One topology at one load."""

    topology: str
    arrivals: str
    load: float
    rounds: int
    sessions: int
    """Of the live run, due after the warm-up."""
    learnt_from: bool
    """Whether the model was calibrated by these very sessions: its error there says less."""
    figures: tuple[Agreement, ...]
    latency_distance: float | None
    """The Kolmogorov-Smirnov statistic of the latencies: the most by which the shares of the two that are below any
    number of seconds differ. 0 for equal distributions, 1 at most. None where one side has no latencies."""

    def as_dict(self) -> dict[str, Any]:
        """Return what goes into JSON, each figure's relative error with it."""
        figures = [{**asdict(each), "relative_error": each.relative_error} for each in self.figures]
        return {**asdict(self), "figures": figures}


def learn(
    plan: Plan, rows: Iterable[TraceRow], figures: Sequence[RoundFigures]
) -> tuple[dict[str, Modelled], list[Comparison]]:
    """Return the model of each topology that a run can teach, and how far it is from that run.

    *rows* are the run's trace, *figures* those of its rounds. Raises as ``models_of`` and ``validate`` do.
    """
    turns = turns_of(rows)
    models = models_of(plan, turns)
    return models, validate(plan, turns, figures, models)


def validate(
    plan: Plan, turns: Turns, figures: Sequence[RoundFigures], modelled: Mapping[str, Modelled]
) -> list[Comparison]:
    """Play the arrivals of each round of *turns* on the model of its topology and compare, load by load.

    Topologies without a model are left out. Raises InvalidRequest when SciPy or SimPy is missing, NothingToLearn when a
    workload of the trace has not been seen in calibration.
    """
    busy = _busy_shares(figures)
    return [
        _compare(plan, source, samples, turns[source], busy.get(source), modelled[source.topology])
        for source, samples in _measured(plan, turns).items()
        if source.topology in modelled
    ]


def _measured(plan: Plan, turns: Turns) -> dict[Source, SessionSamples]:
    """Return the samples of all workloads together, in the order of topology, arrivals and load."""
    found: dict[Source, list[SessionSamples]] = {}
    for cell, samples in sessions_of(plan, (turn.session for each in turns.values() for turn in each)).items():
        found.setdefault(Source(cell.topology, cell.arrivals, cell.load), []).append(samples)
    return {source: together(found[source]) for source in sorted(found)}


def _requests(turns: Iterable[TurnRows], calibration: Calibration, *, closed: bool) -> tuple[Requests, list[Workload]]:
    """Return a round's arrivals as the model takes them, and a workload for each course that a session took."""
    by_lot = {each.name: each for each in calibration.workloads}
    courses: dict[tuple[str, Shape | None], int] = {}
    due, kinds = list[float](), list[int]()
    for turn in sorted(turns, key=lambda each: (each.session.due, each.session.request)):
        course = (turn.session.workload, calibration.shape_of(turn))
        kinds.append(courses.setdefault(course, len(courses)))
        due.append(0.0 if closed else turn.session.due)
    workloads = [_course(*course, f"{course[0]} {number}", by_lot) for course, number in courses.items()]
    spare = _SPARE if closed else 1
    names = tuple(each.name for each in workloads)
    return Requests(np.array(due * spare), np.array(kinds * spare, dtype=np.int64), names), workloads


def _course(workload: str, shape: Shape | None, name: str, by_lot: Mapping[str, Workload]) -> Workload:
    if shape is not None:
        return Workload(name, (shape,))
    if workload not in by_lot:
        raise NothingToLearn(f"workload {workload}: the model was calibrated without it")
    return replace(by_lot[workload], name=name)


def _busy_shares(figures: Sequence[RoundFigures]) -> dict[Source, float]:
    rounds: dict[Source, list[RoundFigures]] = {}
    for each in figures:
        rounds.setdefault(Source(each.topology, each.arrivals, each.load), []).append(each)
    seconds = {source: gpu_seconds(of_source) for source, of_source in rounds.items()}
    return {source: busy / held for source, (busy, held) in seconds.items() if held}


def _compare(
    plan: Plan,
    source: Source,
    samples: SessionSamples,
    turns: Sequence[TurnRows],
    busy: float | None,
    modelled: Modelled,
) -> Comparison:
    rounds = {number: [turn for turn in turns if turn.session.round == number] for number in sorted(samples.done)}
    runs = [_played(plan, source, modelled, number, of_round) for number, of_round in rounds.items()]
    window = (plan.seconds - plan.warm_up_seconds) * len(rounds)
    latency, first = (each[~np.isnan(each)] for each in (samples.latency_seconds, samples.ttft_seconds))
    of_model, first_of_model = (np.concatenate(each) for each in zip(*map(_counted, runs), strict=True))
    figures = [
        Agreement(
            "throughput_per_second",
            sum(each.sessions for each in samples.done.values()) / window,
            float(np.mean([run.figures.throughput_per_second for run in runs])),
        ),
        *_percentiles("latency_p50_seconds", "latency_p95_seconds", latency, of_model),
        *_percentiles("first_text_p50_seconds", "first_text_p95_seconds", first, first_of_model),
    ]
    if busy is not None:
        shares = [run.figures.gpu_busy_share for run in runs]
        figures.append(Agreement("gpu_busy_share", busy, float(np.mean(shares))))
    return Comparison(
        source.topology,
        source.arrivals,
        source.load,
        rounds=len(rounds),
        sessions=samples.places.size,
        learnt_from=modelled.calibration.source == source,
        figures=tuple(figures),
        latency_distance=_distance(latency, of_model) if latency.size and of_model.size else None,
    )


def _played(plan: Plan, source: Source, modelled: Modelled, number: int, turns: Iterable[TurnRows]) -> Run:
    closed = source.arrivals == "closed"
    requests, workloads = _requests(turns, modelled.calibration, closed=closed)
    return simulate(
        requests,
        workloads,
        modelled.system,
        Stretch(plan.seconds, plan.warm_up_seconds, plan.patience_seconds),
        seed=plan.seed + number,
        under_way=round(source.load) if closed else None,
    )


def _counted(run: Run) -> tuple[Floats, Floats]:
    """Return the latencies and times to the first text of the requests that count."""
    return run.requests.of(run.requests.latency), run.requests.of(run.requests.first_text)


def _percentiles(p50: Metric, p95: Metric, measured: Floats, modelled: Floats) -> list[Agreement]:
    if not measured.size or not modelled.size:
        return []
    of_both = (np.percentile(values, (50, 95)).tolist() for values in (measured, modelled))
    return [Agreement(name, *both) for name, *both in zip((p50, p95), *of_both, strict=True)]


def _distance(one: Floats, other: Floats) -> float:
    return float(stats().ks_2samp(one, other).statistic)
