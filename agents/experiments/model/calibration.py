"""From the trace of a live run to the model's inputs: what was observed, resampled; no curve is fitted to anything.

Observed where little waits: at a low load the time between the parts of a turn is the platform's own, at a high one
it has the machine's queues in it, which the model has no word for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from agents.brains.service_time import ServiceTime
from agents.errors import InvalidRequest
from agents.experiments.model.queueing.inputs import (
    Empirical,
    Overhead,
    Requests,
    Shape,
    Step,
    Stretch,
    System,
    Workload,
)
from agents.experiments.model.queueing.simulation import simulate
from agents.experiments.model.turn_rows import Source, TurnRows
from agents.experiments.trace_rows import TraceRow


class NothingToLearn(InvalidRequest):
    """A run does not say what a model needs; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a live run says about turns and the platform they ran on."""

    source: Source
    sessions: int
    """Sessions that it was learnt from: those that ended well after the warm-up."""
    workloads: tuple[Workload, ...]
    tools: Mapping[str, Empirical]
    """Seconds of each tool, from its call to its result."""
    overhead: Overhead
    inference_seconds: float
    """What a model request took beyond what the service times make of the same requests, on average; it is among the
    overhead before each of them."""
    parallel_calls: bool
    """Whether the calls of one step ran beside each other."""
    kept_tokens: Mapping[str, int] | None = None
    """Of each workload, the tokens of its first prompts that count as read before; None: no prompt's beginning does."""

    def shape_of(self, turn: TurnRows) -> Shape | None:
        """Return the shape of a turn of the trace; None of one that was not played to its end, or has unknown tools."""
        if not turn.complete or not {call.name for call in turn.calls} <= set(self.tools):
            return None
        return _shape(turn, self.kept_tokens)

    def system(self, base: System) -> System:
        """Return *base* with the times that were observed."""
        return replace(base, tools=self.tools, overhead=self.overhead, parallel_calls=self.parallel_calls)

    def as_dict(self) -> dict[str, Any]:
        """Return what goes into JSON."""
        return asdict(self)


def lowest_loads(sources: Iterable[Source]) -> dict[str, Source]:
    """Return the lowest load of an open loop of each topology that has one: there it is learnt from."""
    found: dict[str, Source] = {}
    for each in sorted(sources, key=lambda each: (each.load, each.arrivals)):
        if each.arrivals != "closed":
            found.setdefault(each.topology, each)
    return found


def calibrate(source: Source, played: Iterable[TurnRows], brain: ServiceTime, gpus: int) -> Calibration:
    """Learn from what was *played* of *source*, where *gpus* simulated brains had the service times *brain*.

    Where they keep prompts, a beginning that was read before counts as kept: the turn's last prompt, and of its first
    what the shortest first prompt of the workload has. Raises NothingToLearn when no session is of use.
    """
    turns = [turn for turn in played if turn.learnt_from]
    if not turns:
        raise NothingToLearn(
            f"the trace has no session of {source.topology!r} at load {source.load:g} that ended well after the warm-up"
        )
    kept = _kept(turns) if brain.prefix_cache_tokens else None
    shapes = [_shape(turn, kept) for turn in turns]
    beyond = _beyond_service(turns, shapes, brain, gpus)
    calls = [call for turn in turns for call in turn.calls]
    return Calibration(
        source,
        sessions=len(turns),
        workloads=_workloads(turns, shapes),
        tools={
            tool: Empirical.of((_seconds(call) for call in calls if call.name == tool), f"seconds of {tool}")
            for tool in sorted({call.name for call in calls})
        },
        overhead=_overhead(turns, beyond),
        inference_seconds=beyond,
        parallel_calls=_parallel(turns),
        kept_tokens=kept,
    )


def _ended(row: TraceRow) -> float:
    assert row.ended is not None, "turns are complete here"
    return row.ended


def _seconds(row: TraceRow) -> float:
    # Clocks of two machines may disagree by a little.
    return max(0.0, _ended(row) - row.began)


def _parallel(turns: Sequence[TurnRows]) -> bool:
    """Say whether calls of one step overlapped: whether they took nearer to the longest's time than to the sum."""
    together = least = most = 0.0
    for calls in (calls for turn in turns for calls in turn.steps if len(calls) > 1):
        together += max(row.began + _seconds(row) for row in calls) - min(row.began for row in calls)
        least += max(map(_seconds, calls))
        most += sum(map(_seconds, calls))
    return together <= (least + most) / 2


# -- shapes ----------------------------------------------------------------------------------------


def _kept(turns: Sequence[TurnRows]) -> dict[str, int]:
    """Return the tokens of each workload's shortest first prompt."""
    kept: dict[str, int] = {}
    for turn in turns:
        workload, tokens = turn.session.workload, turn.inferences[0].tokens_in
        kept[workload] = min(tokens, kept.get(workload, tokens))
    return kept


def _workloads(turns: Sequence[TurnRows], shapes: Sequence[Shape]) -> tuple[Workload, ...]:
    of_name: dict[str, Counter[Shape]] = {}
    for turn, shape in zip(turns, shapes, strict=True):
        of_name.setdefault(turn.session.workload, Counter())[shape] += 1
    return tuple(
        Workload(
            name,
            tuple(Shape(shape.steps, shape.speaks_at, float(weight)) for shape, weight in of_name[name].items()),
        )
        for name in sorted(of_name)
    )


def _shape(turn: TurnRows, kept: Mapping[str, int] | None) -> Shape:
    prompts = [row.tokens_in for row in turn.inferences]
    # A shorter prompt than the last one is a conversation that was made shorter: all of it is new.
    read = [after - before if kept is not None and after > before else after for before, after in pairwise(prompts)]
    read.insert(0, prompts[0] - (kept or {}).get(turn.session.workload, 0))
    steps = tuple(
        Step(max(1, tokens), row.tokens_out, tuple(call.name for call in calls))
        for tokens, row, calls in zip(read, turn.inferences, turn.steps, strict=True)
    )
    first = turn.session.first
    asked = [row.due for row in turn.inferences]
    return Shape(steps, len(steps) - 1 if first is None else max(0, bisect_right(asked, first) - 1))


# -- the platform's own time -----------------------------------------------------------------------


def _overhead(turns: Sequence[TurnRows], beyond: float) -> Overhead:
    """Return the time between parts; *beyond* is what each model request takes besides, before it."""
    before, between, after = list[float](), list[float](), list[float]()
    for turn in turns:
        session, inferences = turn.session, turn.inferences
        before.append(beyond + max(0.0, inferences[0].due - session.due))
        after.append(max(0.0, _ended(session) - _ended(inferences[-1])))
        for calls, (one, following) in zip(turn.steps, pairwise(inferences), strict=False):
            gap = following.due - _ended(one)
            if calls:
                gap -= max(map(_ended, calls)) - min(call.began for call in calls)
            between.append(beyond + max(0.0, gap))
    return Overhead(
        Empirical.of(before), Empirical.of(between) if between else Empirical.fixed(beyond), Empirical.of(after)
    )


def _beyond_service(turns: Sequence[TurnRows], shapes: Sequence[Shape], brain: ServiceTime, gpus: int) -> float:
    """Return by how much the model requests took longer than the same ones, asked for at the same moments, on GPUs
    that have the service times and nothing else. Requests of other sessions than *turns* are not there to wait for.
    """
    rounds = sorted({turn.session.round for turn in turns})
    length = 2 * max(_ended(row) for turn in turns for row in turn.inferences) + 1
    asked = list[tuple[float, Step, float]]()
    for turn, shape in zip(turns, shapes, strict=True):
        later = rounds.index(turn.session.round) * length
        asked += [
            (later + row.due, step, _ended(row) - row.due)
            for row, step in zip(turn.inferences, shape.steps, strict=True)
        ]
    asked.sort(key=lambda each: each[0])
    kinds = {step: number for number, step in enumerate(dict.fromkeys(step for _, step, _ in asked))}
    alone = [
        Workload(str(number), (Shape((Step(step.tokens_in, step.tokens_out),)),)) for step, number in kinds.items()
    ]
    requests = Requests(
        np.array([due for due, _, _ in asked]),
        np.array([kinds[step] for _, step, _ in asked], dtype=np.int64),
        tuple(workload.name for workload in alone),
    )
    run = simulate(requests, alone, System("decoupled", brain, gpus), Stretch(length * len(rounds), patience=length))
    took = np.array([seconds for _, _, seconds in asked])
    return max(0.0, float(took.mean() - np.nanmean(run.requests.latency)))
