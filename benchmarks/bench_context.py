"""Claim: a turn of a long conversation costs what it adds, not what was said before.

Falsified when the 50th request of a conversation of 1 MB puts 5 % of it or more on the wire to the brain replica, or
when it takes more than half of the CPU (of asker and replica together) that the whole conversation takes over the same
link. Both ways are asked in turns in one run; each conversation is a new one, so nothing is shared by chance.

With ``--refs`` also as Ray object refs, one per turn, kept by the replica: the measure behind docs/adr/0015. Its limit
is not held here; that is a Ray of one's own to start.

Run: ``python -m benchmarks.bench_context [--rounds N] [--refs] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from agents.brains.port import BrainRequest
from agents.hands.toolset import tool_definitions
from agents.sessions.permissions import SANDBOX_TOOLS
from benchmarks.context_ways import Cost, Way, turns, way
from benchmarks.samples import ratio_of_medians

TURNS = 50
SIZE = 1_000_000
SHOWN = (1, 10, 25, 50)
MOST_BYTES = 0.05
MOST_CPU = 0.5
SYSTEM = "You are careful. " * 50

Costs = dict[str, list[list[Cost]]]
"""Of each way: for each turn, the costs of that turn in every conversation."""


async def converse(sender: Way, seed: int) -> list[Cost]:
    """Have one conversation; returns what the request of each turn cost."""
    said: list[dict[str, object]] = []
    costs: list[Cost] = []
    tools = tool_definitions(SANDBOX_TOOLS)
    for question, *answer in turns(seed, TURNS, SIZE):
        said = [*said, question]
        costs.append(await sender.send(BrainRequest(f"sesn_{seed}", "m", said, system=SYSTEM, tools=tools)))
        said = [*said, *answer]
    return costs


async def measure(ways: Sequence[str], rounds: int) -> Costs:
    costs: Costs = {name: [[] for _ in range(TURNS)] for name in ways}
    async with AsyncExitStack() as stack:
        # Ray first: while it starts, nothing else on this loop lives, and links would be given up.
        opened = {
            name: await stack.enter_async_context(way(name)) for name in sorted(ways, key=lambda name: name != "refs")
        }
        senders = {name: opened[name] for name in ways}
        for number in range(rounds + 1):
            for place, (name, sender) in enumerate(senders.items()):
                for turn, cost in enumerate(await converse(sender, number * len(ways) + place)):
                    if number:  # the first warms up
                        costs[name][turn].append(cost)
    return costs


def _median(costs: Sequence[Cost], field: str) -> float:
    return statistics.median(getattr(cost, field) for cost in costs)


def report(costs: Costs) -> list[str]:
    """Print a table; returns what was missed."""
    table = Table("turn", "way", "KB on the wire", "of 1 MB", "CPU ms", "against whole (95 %)", "ms")
    for turn in SHOWN:
        whole = [cost.cpu for cost in costs["whole"][turn - 1]]
        for name, of_turns in costs.items():
            found = of_turns[turn - 1]
            wire, cpu = _median(found, "bytes"), [cost.cpu for cost in found]
            ratio, low, high = ratio_of_medians(cpu, whole)
            table.add_row(
                str(turn),
                name,
                f"{wire / 1000:.1f}" if wire else "",
                f"{wire / SIZE:.1%}" if wire else "",
                f"{statistics.median(cpu) * 1000:.2f}",
                "" if name == "whole" else f"{ratio:.2f} ({low:.2f}-{high:.2f})",
                f"{_median(found, 'seconds') * 1000:.2f}",
            )
    Console(width=120).print(table)
    last = {name: of_turns[-1] for name, of_turns in costs.items()}
    share = _median(last["chunks"], "bytes") / SIZE
    ratio = ratio_of_medians([cost.cpu for cost in last["chunks"]], [cost.cpu for cost in last["whole"]])[0]
    missed: list[str] = []
    if share >= MOST_BYTES:
        missed.append(f"the 50th turn put {share:.1%} of the conversation on the wire, not under {MOST_BYTES:.0%}")
    if ratio > MOST_CPU:
        missed.append(f"the 50th turn took {ratio:.2f} of the CPU of the whole conversation, not {MOST_CPU:g}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a turn of a long conversation sends to the brain.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--refs", action="store_true", help="also as Ray object refs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ways = ["whole", "chunks", *(["refs"] if options.refs else [])]
    costs = (asyncio.run if options.refs else uvloop.run)(measure(ways, options.rounds))
    if options.json:
        options.json.write_text(json.dumps({n: [[asdict(c) for c in t] for t in costs[n]] for n in costs}))
    missed = report(costs)
    for each in missed:
        Console().print(f"[red]missed[/red]: {each}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
