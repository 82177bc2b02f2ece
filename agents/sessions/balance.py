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
from agents.sessions.sides import wanted_by


@dataclass(frozen=True, slots=True)
class Plan:
    """What one member should do now: *claim* these, give *excess* partitions away, expect *missing* more.

    The *foreign* ones are among the excess, and go first: they are the other side's (``agents.sessions.sides``).
    """

    claim: tuple[int, ...] = ()
    excess: int = 0
    missing: int = 0
    foreign: frozenset[int] = frozenset()


def shares(counts: Mapping[str, int], partitions: int) -> dict[str, int]:
    """Return how many of *partitions* each member should hold, given how many each holds."""
    floor, odd = divmod(partitions, len(counts))
    ranked = sorted(counts, key=lambda member: (-counts[member], member))
    return {member: floor + (rank < odd) for rank, member in enumerate(ranked)}


def plan(table: LeaseTable, me: str, held: Collection[int], partitions: int, *, sides: bool = False) -> Plan:
    """Decide for *me*, which really holds *held*; with *sides* a monolith and the parts each have partitions of theirs.

    What the table says is mine and I do not hold comes from an earlier process of my name, or from a claim
    whose answer was lost: it is claimed again, which makes the epoch grow, before anything else.
    """
    wanted, peers = wanted_by(me, table.members, partitions) if sides else (range(partitions), table.members)
    leftover = sorted(p for p, owner in table.owners.items() if owner == me and p not in held and p < partitions)
    foreign = frozenset(p for p in held if p not in wanted)
    counts = Counter(owner for p, owner in table.owners.items() if p in wanted)
    counts[me] = sum(p in wanted for p in (*held, *leftover))
    present = {member: counts[member] for member in {*peers, me}}
    share = shares(present, len(wanted))
    free = [p for p in wanted if p not in table.owners and p not in held]
    # The neediest choose first, each its own part of what is free.
    for member in sorted(present, key=lambda member: (present[member], member)):
        need = max(0, share[member] - present[member])
        if member == me:
            chosen, excess = free[:need], max(0, present[me] - share[me])
            return Plan((*leftover, *chosen), excess + len(foreign), need - len(chosen), foreign)
        free = free[need:]
    raise AssertionError("a member is among those present")
