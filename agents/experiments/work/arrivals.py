"""When an experiment's sessions come, and which: drawn by lot from the plan's seed, so the same for every topology.

An open loop has its arrivals beforehand, whatever becomes of the sessions: by a Poisson process, or as in a production
trace. A closed loop begins a session whenever one has ended, so its arrivals have no times.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agents.experiments.plan import Arrivals, Plan, WorkloadName
from agents.experiments.work.production_trace import TraceRequest, read_trace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One session that is to begin."""

    request: int
    """Its place among the round's arrivals; the same number is the same session in every topology."""
    due: float
    """Seconds after the round's beginning; 0 in a closed loop, where it is due when a place comes free."""
    workload: WorkloadName
    context_tokens: int = 0
    """What the brain reads beyond the conversation's own text, from a trace; else 0."""
    output_tokens: int = 0
    """What the brain writes beyond its last answer's own text, from a trace; else 0."""
    warm_up: bool = False


def arrivals_of(plan: Plan, arrivals: Arrivals, load: float, round_number: int) -> Iterator[Arrival]:
    """Yield the arrivals of one round at one load: of an open loop those within its seconds, of a closed one no end.

    In a closed loop ``warm_up`` is never set: what counts is when a place came free. Raises InvalidRequest for a
    trace that can not be used.
    """
    # Another lot for each, so that no two loads get the same bursts.
    lot = lot_of(plan.seed, "arrivals", arrivals.kind, f"{load:g}", round_number)
    workloads = in_blocks(tuple(plan.workloads), lot)
    if arrivals.kind == "closed":
        yield from (Arrival(request, 0.0, next(workloads)) for request in itertools.count())
        return
    timed: Iterable[tuple[float, TraceRequest | None]]
    if arrivals.trace is None:
        timed = ((due, None) for due in poisson_times(load, plan.seconds, lot))
    else:
        timed = replayed(read_trace(arrivals.trace), load, plan.seconds, round_number)
    for request, (due, traced) in enumerate(timed):
        yield Arrival(
            request,
            due,
            next(workloads),
            context_tokens=traced.context_tokens if traced else 0,
            output_tokens=traced.output_tokens if traced else 0,
            warm_up=due < plan.warm_up_seconds,
        )


def poisson_times(load: float, seconds: float, lot: random.Random) -> Iterator[float]:
    """Yield the moments of a Poisson process with *load* arrivals per second, below *seconds*: exponential gaps."""
    due = lot.expovariate(load)
    while due < seconds:
        yield due
        due += lot.expovariate(load)


def replayed(
    trace: Sequence[TraceRequest], load: float, seconds: float, round_number: int
) -> Iterator[tuple[float, TraceRequest]]:
    """Yield moments below *seconds*, and requests, of the part of a trace that is replayed in a round.

    A part of as many requests as *load* asks for in *seconds* is stretched or pressed to them as a whole, so the gaps
    keep their proportions: what came in bursts comes in bursts. Each round takes the part behind the last round's; at
    its end the trace begins anew.
    """
    wanted = max(1, round(load * seconds))
    first = round_number * wanted
    turn = trace[-1].at - trace[0].at
    # From the last request to the first of the next turn: a usual gap.
    turn += turn / (len(trace) - 1)

    def at(place: int) -> float:
        turns, index = divmod(place, len(trace))
        return turns * turn + trace[index].at

    began, last = at(first), at(first + wanted - 1)
    # A trace's clock may be coarse: of the moment of the last one there may be more, which are left out.
    ended = next(later for place in itertools.count(first + wanted) if (later := at(place)) > last)
    for place in range(first, first + wanted):
        yield (at(place) - began) / (ended - began) * seconds, trace[place % len(trace)]


def in_blocks(items: Sequence[T], lot: random.Random) -> Iterator[T]:
    """Yield *items* for ever: each as often as the others, in blocks that have every one once."""
    while True:
        block = list(items)
        lot.shuffle(block)
        yield from block


def lot_of(*what: object) -> random.Random:
    """Return what draws by lot for *what*: the same for the same words."""
    return random.Random(":".join(map(str, what)))  # noqa: S311 (no secret is drawn)
