"""Who should hold how many partitions: every member decides alone, from the same table.

Shares add up to the number of partitions and differ by at most one; the odd ones stay with members that
hold the most already, so that a balanced table moves nothing. (A common ceiling would not do: nine members
may each hold the ceiling for ten, and the tenth would get nothing.) Members that see the same table choose
disjoint partitions to claim; when two tables differ, the store lets only one claim win.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from agents.sessions.log import LeaseTable


@dataclass(frozen=True, slots=True)
class Plan:
    """What one member should do now: *claim* these, give *excess* partitions away, expect *missing* more."""

    claim: tuple[int, ...] = ()
    excess: int = 0
    missing: int = 0


def shares(counts: Mapping[str, int], partitions: int) -> dict[str, int]:
    """Return how many of *partitions* each member should hold, given how many each holds."""
    floor, odd = divmod(partitions, len(counts))
    ranked = sorted(counts, key=lambda member: (-counts[member], member))
    return {member: floor + (rank < odd) for rank, member in enumerate(ranked)}


def plan(table: LeaseTable, me: str, held: Collection[int], partitions: int) -> Plan:
    """Decide for *me*, which really holds *held*.

    What the table says is mine and I do not hold comes from an earlier process of my name, or from a claim
    whose answer was lost: it is claimed again, which makes the epoch grow, before anything else.
    """
    leftover = sorted(p for p, owner in table.owners.items() if owner == me and p not in held and p < partitions)
    counts = Counter(table.owners.values())
    counts[me] = len(held) + len(leftover)
    present = {member: counts[member] for member in {*table.members, me}}
    share = shares(present, partitions)
    free = [p for p in range(partitions) if p not in table.owners and p not in held]
    # The neediest choose first, each its own part of what is free.
    for member in sorted(present, key=lambda member: (present[member], member)):
        need = max(0, share[member] - present[member])
        if member == me:
            chosen = free[:need]
            return Plan((*leftover, *chosen), max(0, present[me] - share[me]), need - len(chosen))
        free = free[need:]
    raise AssertionError("a member is among those present")
