"""What is done when: drawn from the seed alone, so that a run can be repeated action by action.

Kinds come from a shuffled deck that is dealt to its end before it is shuffled again: every kind occurs, and
the common deaths occur most.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.options import Options

DECK: dict[str, int] = {
    "kill harness": 5,
    "kill sandbox host": 3,
    "kill brain": 3,
    "kill hand": 3,
    "kill worker": 2,
    "kill gateway": 3,
    "kill fleet": 1,
    "kill serve controller": 1,
    "kill haproxy": 1,
    "kill haproxy manager": 1,
    "kill serve proxy": 1,
    "stop harness": 2,
    "stop gateway": 1,
    "stop brain": 1,
    "stop hand": 1,
    "stop sandbox host": 1,
    "stop fleet": 1,
    "remove node": 1,
    "lose node": 1,
    "kill raylet": 1,
    "restart database": 2,
    "kill database backend": 1,
    "roll gateway": 1,
    "roll harness": 1,
    "roll brain": 1,
    "roll hands": 1,
}
"""How often each kind of action lies in one deck."""
LEASE_SECONDS = 4
"""Of a worker on an item. Short, for the sessions of a killed worker wait for it."""
NODE_DEATHS = frozenset({"remove node", "lose node", "kill raylet"})
NEEDS_SERVER = frozenset({"restart database", "kill database backend"})
ROLLS = frozenset({"roll gateway", "roll harness", "roll brain", "roll hands"})
"""Upgrades: they kill nobody, and are not counted as kills."""
STOP_SECONDS = 10.0
"""A stopped process goes on after this long."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action: *delay* seconds after the one before; *draw* in [0, 1) chooses among the living targets."""

    delay: float
    kind: str
    draw: float


def kinds_of(options: Options) -> dict[str, int]:
    """The deck of a run: SQLite has no server."""
    absent = NEEDS_SERVER if options.store == "sqlite" else frozenset[str]()
    absent |= frozenset[str]() if options.rolls else ROLLS
    deck = {kind: count for kind, count in DECK.items() if kind not in absent}
    if unknown := set(options.only) - set(DECK):
        raise SystemExit(f"no such action: {', '.join(sorted(unknown))}; there are {', '.join(DECK)}")
    return {kind: count for kind, count in deck.items() if not options.only or kind in options.only}


def schedule(options: Options) -> list[Step]:
    """Return the steps of a run. A short run sees every kind once before any kind twice."""
    draws = random.Random(f"nemesis {options.seed}")
    deck = kinds_of(options)
    if not deck or not options.kills:
        return []
    once = list(deck)
    rest = [kind for kind, count in deck.items() for _ in range(count - 1)]
    dealt: list[str] = []
    while len(dealt) < options.kills:
        draws.shuffle(once)
        draws.shuffle(rest)
        dealt += [*once, *rest]
    return [Step(options.interval * draws.uniform(0.5, 1.5), kind, draws.random()) for kind in dealt[: options.kills]]
