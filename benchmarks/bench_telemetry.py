"""Claim: counting and tracing what happens costs at most 5 % of the throughput.

Falsified when a platform that does (``telemetry.metrics`` and ``telemetry.traces.enabled``, the default: every turn is
kept) gets less than 0.95 of the one-tool sessions a second of one that does not. Both run side by side and get the same
load in turns, in blocks of a few seconds whose order changes each round, so that what else the machine does meets both;
the ratio is that of each round's two blocks.
Beside it: CPU per session of all processes of each platform, which is steadier than time, and what counting and tracing
take by themselves (``benchmarks.counting``, ``benchmarks.tracing``).

Run: ``python -m benchmarks.bench_telemetry [--rounds N] [--sessions N] [--only PART] [--option KEY=VALUE ...]``; under
3 minutes on two idle cores. ``--only traces`` leaves the rest of the telemetry on in both; ``--option
telemetry.x=false`` says what else is off in the platform that does less.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from agents.experiments.running.raw_http import Refused
from agents.statistics.estimates import Estimate, bootstrap
from benchmarks.counting import snapshot_microseconds, turn_microseconds
from benchmarks.deployment import Deployment, running_platform, running_stub
from benchmarks.drivers import PlatformDriver
from benchmarks.processes import PhaseMeter
from benchmarks.report import verdict
from benchmarks.tracing import tracing_cost

_LEAST = 0.95
_CONCURRENCY = 8
_TEXT = "stub: tools=1 command=true"
_TRIES = 60
_IN_A_ROW = 5
OFF = {"metrics": "telemetry.metrics=false", "traces": "telemetry.traces.enabled=false"}


@dataclass(frozen=True, slots=True)
class Block:
    """What one platform did in one block."""

    sessions_per_second: float
    cpu_ms_per_session: float


Rounds = list[dict[str, Block]]


async def measure(platforms: dict[str, Deployment], rounds: int, sessions: int) -> Rounds:
    """Load the platforms in turns; the first blocks fill caches and do not count."""
    drivers = {name: await _opened(each.url) for name, each in platforms.items()}
    found: Rounds = []
    order = list(platforms)
    for number in range(rounds + 1):
        blocks: dict[str, Block] = {}
        for name in order:
            meter = PhaseMeter({"platform": platforms[name].pid})
            load = await drivers[name].load(_TEXT, sessions, _CONCURRENCY)
            cpu = sum(meter.end().cpu.values())
            blocks[name] = Block(load.rate, 1000 * cpu / sessions)
        order.reverse()
        if number:
            found.append(blocks)
    for driver in drivers.values():
        driver.close()
    return found


async def _opened(url: str) -> PlatformDriver:
    # A proxy that has just started may start anew, and ends connections then: it must have answered a few times.
    good = 0
    for _ in range(_TRIES):
        await asyncio.sleep(1.0)
        try:
            (await PlatformDriver.open(url)).close()
            good += 1
        except (Refused, OSError):
            good = 0
        if good == _IN_A_ROW:
            return await PlatformDriver.open(url)
    raise TimeoutError(f"{url} did not answer {_IN_A_ROW} times in a row within {_TRIES} s")


def ratio(found: Rounds, measure: str) -> Estimate:
    """The median of the rounds' ratios, on over off, with its 95 % bootstrap interval."""
    ratios = [getattr(blocks["on"], measure) / getattr(blocks["off"], measure) for blocks in found]
    return bootstrap(np.median, [ratios])


def report(console: Console, found: Rounds) -> dict[str, Estimate]:
    table = Table("", "on, median", "off, median", "on / off (95 %)")
    ratios = {name: ratio(found, name) for name in ("sessions_per_second", "cpu_ms_per_session")}
    for name, each in ratios.items():
        on, off = (statistics.median(getattr(blocks[way], name) for blocks in found) for way in ("on", "off"))
        between = f"{each.value:.3f} ({_end(each.low)}-{_end(each.high)})"
        table.add_row(name.replace("_", " "), f"{on:.1f}", f"{off:.1f}", between)
    console.print(table)
    return ratios


def _end(of_interval: float | None) -> str:
    return "?" if of_interval is None else f"{of_interval:.3f}"


def _options(settings: Sequence[str]) -> list[str]:
    return [word for each in settings for word in ("--set", each)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--sessions", type=int, default=150, help="of one block")
    parser.add_argument("--option", action="append", default=[], help="another setting of the platform that is off")
    parser.add_argument("--only", choices=sorted(OFF), action="append", help="what is off in it; all of these if unset")
    given = parser.parse_args()
    parts = [OFF[part] for part in given.only or OFF]
    with ExitStack() as stack:
        stub = stack.enter_context(running_stub())
        on = stack.enter_context(running_platform(*stub))
        off = stack.enter_context(running_platform(*stub, *_options([*parts, *given.option])))
        found = uvloop.run(measure({"on": on, "off": off}, given.rounds, given.sessions))
    console = Console()
    ratios = report(console, found)
    turn, snapshot = turn_microseconds(), snapshot_microseconds()
    console.print(
        f"counting alone: {turn:.0f} us of CPU for a one-tool turn, {snapshot:.0f} us for a snapshot and its sum"
    )
    traced = tracing_cost()
    console.print(
        f"tracing alone: {traced.owner_microseconds:.0f} us of CPU for a one-tool turn where its session is owned, "
        f"{traced.store_microseconds:.0f} us for writing and merging its {traced.spans:.0f} spans"
    )
    rounds = [{name: asdict(block) for name, block in blocks.items()} for blocks in found]
    results = {"rounds": rounds, "turn_us": turn, "snapshot_us": snapshot, "tracing": asdict(traced)}
    results |= {name: asdict(each) for name, each in ratios.items()}
    return verdict(console, "telemetry", results, stands=ratios["sessions_per_second"].value >= _LEAST)


if __name__ == "__main__":
    sys.exit(main())
