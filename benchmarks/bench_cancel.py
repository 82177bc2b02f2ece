"""How soon the place of a model request is free again when its reader leaves, for every engine.

From closing the stream in mid-answer until the engine works on it no more: the model server's connection is closed
(claude, server), the slot of the batch is empty (transformers), the script or plan has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time

from rich.console import Console
from rich.table import Table

from agents.brains.port import Brain, closing
from benchmarks.samples import quantile
from tests.contract.brain_stages import KINDS, Stage, Told, ask, staged

MOST_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0


async def measure(kind: str, rounds: int) -> list[float]:
    """Return the seconds of each round."""
    async with staged(kind) as stage:
        brain = stage.brain(*[Told("half an answer", stalls=True)] * rounds)
        return [await _leave(stage, brain, number + 1) for number in range(rounds)]


async def _leave(stage: Stage, brain: Brain, number: int) -> float:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        async with closing(brain.think(ask())) as events:
            async for event in events:
                if event["type"] == "content_block_start":
                    break
            left = time.perf_counter()
        if not await stage.cancelled(number):
            raise SystemExit(f"{type(stage).__name__}: the generation went on")
    return time.perf_counter() - left


def report(samples: dict[str, list[float]]) -> list[str]:
    """Print a table; returns what was missed."""
    table = Table("engine", "n", "ms p50", "p95", "worst")
    missed: list[str] = []
    for kind, seconds in samples.items():
        shown = (statistics.median(seconds), quantile(seconds, 0.95), max(seconds))
        table.add_row(kind, str(len(seconds)), *(f"{each * 1000:.1f}" for each in shown))
        if shown[-1] > MOST_SECONDS:
            missed.append(f"{kind}: {shown[-1] * 1000:.0f} ms, not within {MOST_SECONDS * 1000:.0f}")
    Console(width=100).print(table)
    return missed


async def _run(rounds: int) -> dict[str, list[float]]:
    return {kind: await measure(kind, rounds) for kind in KINDS}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how soon a cancelled model request has given its place back.")
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    missed = report(asyncio.run(_run(options.rounds)))
    for each in missed:
        Console().print(f"[red]missed[/red]: {each}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
