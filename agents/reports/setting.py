"""What the figures show of an experiment: which two topologies, and at which load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agents.experiments.plan import Plan
from agents.experiments.trace_rows import TraceRow

DECOUPLED = "decoupled"


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """A kind of arrivals at one load."""

    arrivals: str
    load: float
    """Sessions per second of an open loop, sessions under way of a closed one."""

    @property
    def text(self) -> str:
        """In words."""
        if self.arrivals == "closed":
            return f"{self.load:g} sessions always under way"
        return f"{self.load:g} sessions per second ({self.arrivals.replace('poisson', 'Poisson')} arrivals)"


class Pair(NamedTuple):
    """The two topologies that the figures hold against each other."""

    baseline: str
    compared: str


def pair_of(plan: Plan) -> Pair | None:
    """The baseline and ``decoupled``, or the first that is not the baseline; None when there is only one."""
    others = [each.name for each in plan.topologies if each.name != plan.baseline]
    if not others:
        return None
    return Pair(plan.baseline, DECOUPLED if DECOUPLED in others else others[0])


def settings_of(rows: Iterable[TraceRow], pair: Pair) -> list[Setting]:
    """The settings that both topologies of *pair* have sessions of, in ascending order."""
    seen: dict[str, set[Setting]] = {name: set() for name in pair}
    for row in rows:
        if row.kind == "session" and row.topology in seen:
            seen[row.topology].add(Setting(row.arrivals, row.load))
    return sorted(seen[pair.baseline] & seen[pair.compared])


def rows_at(rows: Iterable[TraceRow], pair: Pair, setting: Setting) -> Iterator[TraceRow]:
    """Yield the rows of both topologies of *pair* at *setting*."""
    arrivals, load = setting.arrivals, setting.load
    return (row for row in rows if row.topology in pair and row.arrivals == arrivals and row.load == load)


def ramp_of(settings: Sequence[Setting]) -> list[Setting]:
    """The loads of one kind of arrivals, ascending: the kind with most of them, an open loop before a closed one."""
    kinds = {each.arrivals for each in settings}

    def rank(kind: str) -> tuple[bool, int, str]:
        return kind != "closed", sum(each.arrivals == kind for each in settings), kind

    best = max(kinds, key=rank, default=None)
    return sorted(each for each in settings if each.arrivals == best)
