"""How far the model is from the live run: the same arrivals are played on it, and what comes of them compared.

Each session takes the course that it took in the run, its steps, tokens and tools, for these do not depend on the
platform; how long they take is the model's. Of a session that never ended the course is drawn by lot.

What is counted, and how what never ended is counted, is as in ``agents.experiments.trace_samples``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.errors import InvalidRequest
from agents.experiments.figures_of_rounds import RoundFigures
from agents.experiments.model.calibration import Calibration, TurnRows
from agents.experiments.model.queueing.inputs import Requests, Shape, Stretch, System, Workload
from agents.experiments.model.queueing.results import Run
from agents.experiments.model.queueing.simulation import simulate
from agents.experiments.plan import Plan
from agents.experiments.trace_rows import UNFINISHED, TraceRow
from agents.extras import extra

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

Floats = NDArray[np.float64]


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


@dataclass(frozen=True, slots=True)
class Modelled:
    """A topology of the plan, as the model has it."""

    calibration: Calibration
    system: System


def validate(
    plan: Plan, rows: Iterable[TraceRow], figures: Sequence[RoundFigures], modelled: Mapping[str, Modelled]
) -> list[Comparison]:
    """Play the arrivals of each round in *rows* on the model of its topology and compare, load by load.

    Topologies without a model are left out. Raises InvalidRequest when SciPy or SimPy is missing, or a workload of the
    trace has not been seen in calibration.
    """
    cells: dict[tuple[str, str, float], dict[int, _Round]] = {}
    for row in rows:
        if row.topology in modelled:
            rounds = cells.setdefault((row.topology, row.arrivals, row.load), {})
            rounds.setdefault(row.round, _Round()).add(row, plan)
    busy = _busy_shares(figures)
    return [_compare(plan, key, rounds, busy.get(key), modelled[key[0]]) for key, rounds in sorted(cells.items())]


@dataclass(slots=True)
class _Round:
    """The sessions of one live round."""

    turns: dict[int, TurnRows] = field(default_factory=lambda: {})
    """By their requests: a session that could not be made has no id."""
    latency: array[float] = field(default_factory=lambda: array("d"))
    first: array[float] = field(default_factory=lambda: array("d"))
    served: int = 0
    """Ended well between the warm-up and the round's end."""

    def add(self, row: TraceRow, plan: Plan) -> None:
        """Take in a row."""
        self.turns.setdefault(row.request, TurnRows()).add(row)
        if row.kind == "session":
            self._add_session(row, plan)

    def _add_session(self, row: TraceRow, plan: Plan) -> None:
        if row.outcome == "ok" and row.ended is not None and plan.warm_up_seconds <= row.ended < plan.seconds:
            self.served += 1
        if row.warm_up or row.outcome not in ("ok", UNFINISHED):
            return
        given_up = plan.seconds + plan.patience_seconds
        self.latency.append((given_up if row.ended is None else row.ended) - row.due)
        if row.first is not None or row.ended is None:
            self.first.append((given_up if row.first is None else row.first) - row.due)

    def requests(self, calibration: Calibration, *, closed: bool) -> tuple[Requests, list[Workload]]:
        """Return the arrivals as the model takes them, and a workload for each course that a session took."""
        sessions = [(turn.session, turn) for turn in self.turns.values() if turn.session is not None]
        sessions.sort(key=lambda each: (each[0].due, each[0].request))
        by_lot = {each.name: each for each in calibration.workloads}
        courses: dict[tuple[str, Shape | None], Workload] = {}
        numbers: dict[tuple[str, Shape | None], int] = {}
        kinds: list[int] = []
        for session, turn in sessions:
            key = (session.workload, calibration.shape_of(turn))
            if key not in courses:
                courses[key] = _course(*key, f"{session.workload} {len(courses)}", by_lot)
            kinds.append(numbers.setdefault(key, len(numbers)))
        workloads = list(courses.values())
        due = [0.0 if closed else session.due for session, _ in sessions]
        spare = _SPARE if closed else 1
        names = tuple(each.name for each in workloads)
        return Requests(np.array(due * spare), np.array(kinds * spare, dtype=np.int64), names), workloads


def _course(workload: str, shape: Shape | None, name: str, by_lot: Mapping[str, Workload]) -> Workload:
    if shape is not None:
        return Workload(name, (shape,))
    if workload not in by_lot:
        raise InvalidRequest(f"workload {workload}: the model was calibrated without it")
    return replace(by_lot[workload], name=name)


def _busy_shares(figures: Sequence[RoundFigures]) -> dict[tuple[str, str, float], float]:
    seconds: dict[tuple[str, str, float], tuple[float, float]] = {}
    for each in figures:
        key = (each.topology, each.arrivals, each.load)
        busy, held = seconds.get(key, (0.0, 0.0))
        seconds[key] = busy + each.gpu_busy_seconds, held + each.gpus * each.seconds
    return {key: busy / held for key, (busy, held) in seconds.items() if held}


def _compare(
    plan: Plan, key: tuple[str, str, float], rounds: Mapping[int, _Round], busy: float | None, modelled: Modelled
) -> Comparison:
    topology, arrivals, load = key
    runs = [
        _played(plan, rounds[number], modelled, number, load, closed=arrivals == "closed") for number in sorted(rounds)
    ]
    window = (plan.seconds - plan.warm_up_seconds) * len(rounds)
    latency, first = (
        np.concatenate([np.array(getattr(each, name)) for each in rounds.values()]) for name in ("latency", "first")
    )
    of_model, first_of_model = (np.concatenate(each) for each in zip(*map(_counted, runs), strict=True))
    figures = [
        Agreement(
            "throughput_per_second",
            sum(each.served for each in rounds.values()) / window,
            float(np.mean([run.figures.throughput_per_second for run in runs])),
        ),
        *_percentiles("latency_p50_seconds", "latency_p95_seconds", latency, of_model),
        *_percentiles("first_text_p50_seconds", "first_text_p95_seconds", first, first_of_model),
    ]
    if busy is not None:
        shares = [run.figures.gpu_busy_share for run in runs]
        figures.append(Agreement("gpu_busy_share", busy, float(np.mean(shares))))
    source = modelled.calibration.source
    return Comparison(
        topology,
        arrivals,
        load,
        rounds=len(rounds),
        sessions=latency.size,
        learnt_from=(source.topology, source.arrivals, source.load) == key,
        figures=tuple(figures),
        latency_distance=_distance(latency, of_model) if latency.size and of_model.size else None,
    )


def _played(plan: Plan, one: _Round, modelled: Modelled, number: int, load: float, *, closed: bool) -> Run:
    requests, workloads = one.requests(modelled.calibration, closed=closed)
    return simulate(
        requests,
        workloads,
        modelled.system,
        Stretch(plan.seconds, plan.warm_up_seconds, plan.patience_seconds),
        seed=plan.seed + number,
        under_way=round(load) if closed else None,
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
    return float(extra("scipy.stats", "comparing distributions needs SciPy").ks_2samp(one, other).statistic)
