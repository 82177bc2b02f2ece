"""Throughput at the goal: the highest load of which at least 95 % of the sessions met their workload's goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.experiments.analysis.metrics import Rates

SERVED_SHARE = 0.95
"""Of sessions that must meet the goal."""


@dataclass(frozen=True, slots=True)
class AtGoal:
    """What a topology does for a workload at the highest load at which it keeps the goal."""

    topology: str
    workload: str
    arrivals: str
    load: float | None
    """None when it kept the goal at no load; then the figures are None too, and the throughput is none."""
    served_per_second: float
    completed_per_second: float | None
    usd_per_session: float | None
    usd_per_token: float | None


def at_goal(topology: str, workload: str, arrivals: str, by_load: Mapping[float, Rates]) -> AtGoal:
    """Return what was reached at the highest load at which the goal was kept."""
    load = max((load for load, rates in by_load.items() if _kept(rates)), default=None)
    if load is None:
        return AtGoal(topology, workload, arrivals, None, 0.0, None, None, None)
    rates = by_load[load]
    return AtGoal(
        topology,
        workload,
        arrivals,
        load,
        rates.served_per_second,
        rates.completed_per_second,
        rates.usd_per_session,
        rates.usd_per_token,
    )


def by_round(
    topology: str, workload: str, arrivals: str, rounds: Mapping[float, Mapping[int, Rates]]
) -> Mapping[int, AtGoal]:
    """Return the same of each round by itself, of those that had every load; *rounds* are rates by load and round."""
    numbers: Sequence[int] = sorted(set[int].intersection(*(set(each) for each in rounds.values())))
    return {
        number: at_goal(topology, workload, arrivals, {load: each[number] for load, each in rounds.items()})
        for number in numbers
    }


def _kept(rates: Rates) -> bool:
    return rates.served_share is not None and rates.served_share >= SERVED_SHARE
