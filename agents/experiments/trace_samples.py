"""A trace as samples: an array for each figure of the sessions that met one load on one topology.

Rows stream in and leave a few numbers each, so that a trace of millions of rows fits into memory. What is a session's
(its price, whether anything of it was tried again) is put together from all of its rows, in whatever order they come.

How a session that never ended is counted: it failed, and its latency is what it had lasted when it was given up, at the
end of the round's patience; that is the least it can have been. One that ended in an error failed and has no latency,
for a refusal is not a fast answer.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.errors import InvalidRequest
from agents.experiments.plan import Goal, Plan
from agents.experiments.trace_rows import UNFINISHED, TraceRow
from agents.statistics.samples import Floats

Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]

_REQUESTS = 1 << 32
"""Requests that a round can have: a session's place is its round times this, and its request."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """What sessions have in common that are counted together."""

    topology: str
    workload: str
    arrivals: str
    load: float


@dataclass(frozen=True, slots=True)
class WorkDone:
    """What was finished within a round's window, whenever it began."""

    sessions: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class SessionSamples:
    """The sessions of a cell that were due after the warm-up: arrays of shape (sessions,), by round and request."""

    places: Places
    """Equal in two topologies for the same request of the same round."""
    rounds: Places
    ok: Bools
    unfinished: Bools
    served: Bools
    """Whether it met both of its workload's goals."""
    retried: Bools
    latency_seconds: Floats
    """From due to its end; NaN when it ended in an error."""
    ttft_seconds: Floats
    """From due to its first text; NaN when it ended in an error, or well without any."""
    metered_usd: Floats
    done: dict[int, WorkDone]
    """By round, also of rounds in which no session was due."""
    faults: int
    """Processes that were killed in those rounds."""


@dataclass(slots=True)
class _Columns:
    """A cell's samples while rows stream in."""

    faults: Counter[int]
    """Of each round that was run at this load: all workloads' cells share it, for one that nobody asked for had its
    time as well."""
    places: array[int] = field(default_factory=lambda: array("q"))
    ok: array[int] = field(default_factory=lambda: array("b"))
    unfinished: array[int] = field(default_factory=lambda: array("b"))
    served: array[int] = field(default_factory=lambda: array("b"))
    latency: array[float] = field(default_factory=lambda: array("d"))
    ttft: array[float] = field(default_factory=lambda: array("d"))
    priced: array[int] = field(default_factory=lambda: array("q"))
    micro_usd: array[int] = field(default_factory=lambda: array("q"))
    retried: array[int] = field(default_factory=lambda: array("q"))
    sessions: Counter[int] = field(default_factory=lambda: Counter[int]())
    tokens_in: Counter[int] = field(default_factory=lambda: Counter[int]())
    tokens_out: Counter[int] = field(default_factory=lambda: Counter[int]())


def sessions_of(plan: Plan, rows: Iterable[TraceRow]) -> dict[Cell, SessionSamples]:
    """Return the samples of each cell that *rows* have sessions of, in the cells' order.

    Raises InvalidRequest for a workload that the plan does not have, and a session that is there twice.
    """
    goals: dict[str, Goal] = {**plan.workloads}
    cells: dict[tuple[str, str, str, float], _Columns] = {}
    faults: dict[tuple[str, str, float], Counter[int]] = {}
    for row in rows:
        of_load = faults.setdefault((row.topology, row.arrivals, row.load), Counter())
        of_load[row.round] += row.kind == "fault" and row.outcome == "ok"
        key = (row.topology, row.workload, row.arrivals, row.load)
        columns = cells.get(key)
        if columns is None:
            columns = cells[key] = _Columns(of_load)
        _count_done(plan, row, columns)
        if row.warm_up:
            continue
        place = row.round * _REQUESTS + row.request
        if row.retries:
            columns.retried.append(place)
        if row.kind == "session":
            if row.workload not in goals:
                raise InvalidRequest(f"the workload {row.workload!r} is none of the plan's: {', '.join(goals)}")
            _take_session(plan, goals[row.workload], row, place, columns)
        elif row.micro_usd:  # a session's own row only repeats what its parts cost
            columns.priced.append(place)
            columns.micro_usd.append(row.micro_usd)
    return {Cell(*key): _samples(Cell(*key), cells[key]) for key in sorted(cells) if cells[key].places}


def together(samples: Sequence[SessionSamples]) -> SessionSamples:
    """Return the sessions of several workloads as one cell's: they shared the rounds and have different requests."""
    order = np.argsort(np.concatenate([each.places for each in samples]), kind="stable")

    def joined(name: str) -> Any:
        return np.concatenate([getattr(each, name) for each in samples])[order]

    arrays = [each.name for each in fields(SessionSamples) if each.name not in ("done", "faults")]
    done = {number: _sum([each.done[number] for each in samples]) for number in samples[0].done}
    return SessionSamples(**{name: joined(name) for name in arrays}, done=done, faults=samples[0].faults)


def _sum(parts: Sequence[WorkDone]) -> WorkDone:
    return WorkDone(
        sum(each.sessions for each in parts),
        sum(each.tokens_in for each in parts),
        sum(each.tokens_out for each in parts),
    )


def _count_done(plan: Plan, row: TraceRow, columns: _Columns) -> None:
    """Count what ended within the window: so what a slow topology carries over from the warm-up counts as well."""
    if row.ended is None or row.outcome != "ok" or not plan.warm_up_seconds <= row.ended < plan.seconds:
        return
    if row.kind == "session":
        columns.sessions[row.round] += 1
    elif row.kind == "inference":
        columns.tokens_in[row.round] += row.tokens_in
        columns.tokens_out[row.round] += row.tokens_out


def _take_session(plan: Plan, goal: Goal, row: TraceRow, place: int, columns: _Columns) -> None:
    ok = row.outcome == "ok" and row.ended is not None
    unfinished = row.outcome in ("ok", UNFINISHED) and row.ended is None
    latency = ttft = np.nan
    if ok or unfinished:
        given_up = plan.seconds + plan.patience_seconds
        latency = (given_up if row.ended is None else row.ended) - row.due
        first = given_up if row.first is None and unfinished else row.first
        ttft = np.nan if first is None else first - row.due
    columns.places.append(place)
    columns.ok.append(ok)
    columns.unfinished.append(unfinished)
    # A NaN is not above anything: an answer without text is held to its end alone.
    columns.served.append(ok and latency <= goal.seconds and not ttft > goal.first_seconds)
    columns.latency.append(latency)
    columns.ttft.append(ttft)


def _samples(cell: Cell, columns: _Columns) -> SessionSamples:
    places = np.array(columns.places, dtype=np.int64)
    order = np.argsort(places, kind="stable")
    places = places[order]
    twice = places[1:][places[1:] == places[:-1]]
    if twice.size:
        round_number, request = divmod(int(twice[0]), _REQUESTS)
        raise InvalidRequest(
            f"the session of request {request} in round {round_number} is there twice: {cell.topology}, "
            f"{cell.workload}, {cell.arrivals}, load {cell.load:g}"
        )
    return SessionSamples(
        places=places,
        rounds=places // _REQUESTS,
        ok=np.array(columns.ok, dtype=np.bool_)[order],
        unfinished=np.array(columns.unfinished, dtype=np.bool_)[order],
        served=np.array(columns.served, dtype=np.bool_)[order],
        retried=np.isin(places, np.array(columns.retried, dtype=np.int64)),
        latency_seconds=np.array(columns.latency, dtype=np.float64)[order],
        ttft_seconds=np.array(columns.ttft, dtype=np.float64)[order],
        metered_usd=_prices(places, columns),
        done={
            number: WorkDone(columns.sessions[number], columns.tokens_in[number], columns.tokens_out[number])
            for number in sorted(columns.faults)
        },
        faults=columns.faults.total(),
    )


def _prices(places: Places, columns: _Columns) -> Floats:
    """Add up what the parts of each session cost, in US dollars; micro-USD are added as whole numbers."""
    micro = np.zeros(places.size, dtype=np.int64)
    priced = np.array(columns.priced, dtype=np.int64)
    known = np.isin(priced, places)
    np.add.at(micro, np.searchsorted(places, priced[known]), np.array(columns.micro_usd, dtype=np.int64)[known])
    return micro / 1e6
