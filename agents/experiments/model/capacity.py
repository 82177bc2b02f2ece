"""How many GPUs a load takes: the fewest with which nearly all sessions meet the plan's goals, by the model.

Sessions come by a Poisson process, as many of each workload, as in the plan's own arrivals. Hands have the replicas
that the load takes at its peaks and may have as many more as they ask for: GPUs alone decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, sqrt
from statistics import fmean
from typing import Any

import numpy as np

from agents.errors import InvalidRequest
from agents.experiments.analysis.at_goal import SERVED_SHARE
from agents.experiments.model.models import SANDBOXES, Modelled
from agents.experiments.model.queueing.inputs import Hands, Requests, Shape, Stretch, System, Workload
from agents.experiments.model.queueing.results import Run
from agents.experiments.model.queueing.simulation import simulate
from agents.experiments.plan import Goal, Plan

_LENGTHS = 8
"""Length of a run, in the longest goals, of which the first is the warm-up: a queue that grows is seen within it."""
_LEAST_SESSIONS = 2000
_CLOSE = 0.02
"""What is found is at most this part above the fewest."""
_MORE = 1.25
"""How much further the next guess goes when one was too few."""
_MANY = 100
"""GPUs that the work takes, from which on the search begins at what a tenth of the load needs: beyond, ten times the
load takes about ten times the GPUs."""
_LESS = 10
_NEAR = 1.05
"""How much further the next guess goes from there."""
_MOST_IDLE = 50
"""Times the GPUs that the work takes; who misses the goals with so many would with any number."""
_HANDS = 1_000_000
_SLACK = 4
"""Standard deviations of calls under way (a Poisson number: their mean's root) for which hands have places; the
square-root rule of staffing (Halfin and Whitt, Operations Research 29, 1981)."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a load takes on one topology."""

    topology: str
    sessions_per_second: float
    gpus: int
    met_share: float
    """Of the sessions, those that met their goals with so many."""
    sessions: int
    """That were simulated for it."""
    latency_p95_seconds: float
    thinking_share: float
    """Of the GPUs' places, those in which was thought."""
    sessions_per_gpu_hour: float
    hand_replicas: float
    """On average; sandboxes not counted, nor what a monolith runs in itself."""

    def as_dict(self) -> dict[str, Any]:
        """Return what goes into JSON."""
        return asdict(self)


def gpus_needed(plan: Plan, topology: str, modelled: Modelled, load: float) -> Need | None:
    """Return the fewest GPUs, to within 2 %, with which *topology* serves *load* sessions a second.

    None when no number would do, for its turns take longer than their goals by themselves. Raises InvalidRequest.
    """
    if not load > 0:
        raise InvalidRequest(f"load: must be above 0 sessions per second, not {load}")
    probe = _Probe(plan, modelled, load)
    fewest = max(1, ceil(load * probe.gpu_seconds))
    most = _MOST_IDLE * fewest
    if fewest >= _MANY:
        less = gpus_needed(plan, topology, modelled, load / _LESS)
        if less is None:
            return None
        found = _fewest(probe, fewest, most, guess=_LESS * less.gpus, factor=_NEAR)
    else:
        found = None if probe.run(most) is None else _fewest(probe, fewest, most, guess=fewest, factor=_MORE)
    if found is None:
        return None
    gpus, run, share = found
    figures = run.figures
    assert figures.latency_seconds is not None, "sessions were served"
    return Need(
        topology,
        load,
        gpus,
        met_share=share,
        sessions=figures.due,
        latency_p95_seconds=figures.latency_seconds.p95,
        thinking_share=figures.thinking_share,
        sessions_per_gpu_hour=load * 3600 / gpus,
        hand_replicas=sum(each.mean_replicas for each in figures.hands if each.name != SANDBOXES),
    )


def _fewest(probe: _Probe, fewest: int, most: int, *, guess: int, factor: float) -> tuple[int, Run, float] | None:
    """Return the fewest GPUs that do, from *fewest* to *most*, and their run; None if none do.

    From *guess* steps of *factor* lead up or down to one that does beside one that does not; then the gap is halved.
    """
    high = guess
    while (enough := probe.run(high)) is None:
        if high >= most:
            return None
        fewest, high = high + 1, min(most, ceil(high * factor))
    while high <= guess and (lower := max(fewest, int(high / factor))) < high:
        found = probe.run(lower)
        if found is None:
            fewest = lower + 1
            break
        high, enough = lower, found
    while high - fewest > int(_CLOSE * high):
        middle = (fewest + high) // 2
        found = probe.run(middle)
        if found is None:
            fewest = middle + 1
        else:
            high, enough = middle, found
    return high, *enough


class _Probe:
    """One load on one topology, with as many GPUs as one asks for."""

    def __init__(self, plan: Plan, modelled: Modelled, load: float) -> None:
        goals: dict[str, Goal] = {**plan.workloads}
        self._workloads = [each for each in modelled.calibration.workloads if each.name in goals]
        if not self._workloads:
            raise InvalidRequest("workloads: the trace has none of the plan's")
        self._goals = [goals[each.name] for each in self._workloads]
        self._seed = plan.seed
        longest = max(goal.seconds for goal in self._goals)
        length = max(_LENGTHS * longest, _LEAST_SESSIONS / load)
        self._stretch = Stretch(length, warm_up=longest, patience=longest)
        self._requests = _poisson(load, length, tuple(each.name for each in self._workloads), plan.seed)
        self._system = _with_hands(modelled.system, self._workloads, load)

    @property
    def gpu_seconds(self) -> float:
        """Seconds of a GPU that a session takes, with all places in use: no fewer GPUs can do the work."""
        brain = self._system.brain
        token = brain.seconds_per_step(brain.max_batch) / brain.max_batch

        def of_shape(shape: Shape) -> float:
            return sum(step.tokens_out * token + brain.prefill_seconds(ceil(step.tokens_in)) for step in shape.steps)

        return _mean(self._workloads, of_shape)

    def run(self, gpus: int) -> tuple[Run, float] | None:
        """Return the run with so many GPUs and the part of the sessions that met their goals; None if too few did."""
        system = replace(self._system, gpus=gpus)
        run = simulate(self._requests, self._workloads, system, self._stretch, seed=self._seed)
        requests, kinds = run.requests, self._requests.workload
        ends, first = (np.array([getattr(goal, name) for goal in self._goals]) for name in ("seconds", "first_seconds"))
        # A NaN is not above anything: an answer without text is held to its end alone.
        met = requests.served & (requests.latency <= ends[kinds]) & ~(requests.first_text > first[kinds])
        share = float(met[requests.counted].mean()) if requests.counted.any() else 0.0
        return (run, share) if share >= SERVED_SHARE else None


def _poisson(load: float, seconds: float, names: tuple[str, ...], seed: int) -> Requests:
    lots = np.random.default_rng((seed, round(load * 1000)))
    count = int(lots.poisson(load * seconds))
    return Requests(np.sort(lots.random(count)) * seconds, lots.integers(len(names), size=count), names)


def _with_hands(system: System, workloads: Sequence[Workload], load: float) -> System:
    """Return *system* with the replicas of hands that the load takes at its peaks, and as many more as it asks for."""

    def grown(hands: Hands) -> Hands:
        def of_shape(shape: Shape) -> float:
            tools = [tool for step in shape.steps for tool in step.tools if system.hands_of(tool) is hands]
            return sum(system.tools[tool].mean for tool in tools)

        busy = load * _mean(workloads, of_shape)
        least = max(hands.min_replicas, ceil((busy + _SLACK * sqrt(busy)) / hands.concurrency))
        return replace(hands, min_replicas=least, max_replicas=max(_HANDS, least))

    return replace(system, hands=tuple(grown(hands) for hands in system.hands))


def _mean(workloads: Sequence[Workload], of_shape: Callable[[Shape], float]) -> float:
    """Return the mean over sessions, as many of each workload."""
    return fmean(
        fmean(map(of_shape, each.shapes), weights=[shape.weight for shape in each.shapes]) for each in workloads
    )
