"""When processes of the platform are killed in a round, and of which part: by lot, the same for every topology."""

from __future__ import annotations

from dataclasses import dataclass

from agents.experiments.plan import FAULT_SEEN_SECONDS, Arrivals, FaultPart, Plan
from agents.experiments.work.arrivals import in_blocks, lot_of, poisson_times


@dataclass(frozen=True, slots=True)
class Fault:
    """One process that is to be killed."""

    due: float
    """Seconds after the round's beginning."""
    part: FaultPart
    draw: float
    """In [0, 1): which of the part's processes, in their order."""


def faults_of(plan: Plan, arrivals: Arrivals, load: float, round_number: int) -> list[Fault]:
    """Return the faults of one round at one load, in their order; by chance there may be none."""
    if plan.faults is None:
        return []
    lot = lot_of(plan.seed, "faults", arrivals.kind, f"{load:g}", round_number)
    parts = in_blocks(plan.faults.parts, lot)
    length = plan.seconds - FAULT_SEEN_SECONDS - plan.warm_up_seconds
    times = list(poisson_times(1 / plan.faults.every_seconds, length, lot))
    return [Fault(plan.warm_up_seconds + due, next(parts), lot.random()) for due in times]
