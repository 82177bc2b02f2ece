"""Claims: a one-tool turn costs at most 30 ms and 4 floors; 32 clients get at least 60 one-tool sessions/s;
four parallel ``sleep 0.2`` tools take at most 0.35 s; ``hecaton up`` is ready in at most 25 s; nothing leaks.

Run: python -m benchmarks.turns [--quick] [--only PART ...] [--leak N] [--profile]
Settings of the measured platform come from the environment (HECATON_...). The model is a stub without
any delay, so a turn's whole time is overhead; platform and floor are asked in alternation.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import asdict, dataclass, replace
from typing import Any

import uvloop

from benchmarks import report
from benchmarks.deployment import Deployment, running_platform, running_stub
from benchmarks.drivers import FloorDriver, Load, PlatformDriver
from benchmarks.memory import footprint, leak, per_session, resting
from benchmarks.processes import Phase, PhaseMeter
from benchmarks.profiling import FOLDER, profiled, thread_cpu
from benchmarks.samples import write_results

ONE_TOOL = "stub: tools=1 command=true"
TURNS = {
    "text": "stub: text=ok",
    "1 tool": ONE_TOOL,
    "4 parallel tools": "stub: rounds=1 parallel=4 command=true",
    "5 rounds": "stub: rounds=5 command=true",
}
FIRST = "1 tool, first of a session"
SLEEPS = 'stub: rounds=1 parallel=4 command="sleep 0.2"'
PARTS = ("memory", "turns", "parallel", "load", "leak", "profile")
USUAL = PARTS[:4]
_IDLE_SECONDS = 5.0
_PROFILE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    """Alternations of platform and floor."""
    turns: int
    """Turns per scenario and alternation."""
    sessions: dict[int, int]
    """Sessions by concurrency."""
    sleeps: int
    live: int
    """Sessions held live for the memory of one."""
    leak: int
    """Sessions of the leak check."""
    rest: float
    """Seconds of rest after it."""


QUICK = Sizes(rounds=2, turns=8, sessions={1: 20, 8: 80, 32: 160}, sleeps=4, live=30, leak=400, rest=10)
FULL = Sizes(rounds=5, turns=20, sessions={1: 100, 8: 300, 32: 800}, sleeps=15, live=100, leak=2000, rest=60)


class Bench:
    """One run against one platform."""

    def __init__(self, up: Deployment, platform: PlatformDriver, floor: FloorDriver, sizes: Sizes) -> None:
        self._up = up
        self._platform = platform
        self._floor = floor
        self._sizes = sizes
        self.results: dict[str, Any] = {"ready_seconds": up.ready_seconds, "sizes": asdict(sizes)}

    async def turns(self) -> None:
        """Per-turn overhead of platform and floor, in alternation."""
        samples: dict[str, dict[str, list[float]]] = {name: {"platform": [], "floor": []} for name in [*TURNS, FIRST]}
        for _ in range(self._sizes.rounds):
            for name, text in TURNS.items():
                samples[name]["platform"] += await self._platform.repeat(text, self._sizes.turns)
                samples[name]["floor"] += await self._floor.repeat(text, self._sizes.turns)
            samples[FIRST]["platform"] += await self._platform.first_turns(ONE_TOOL, self._sizes.turns)
            samples[FIRST]["floor"] += await self._floor.first_turns(ONE_TOOL, self._sizes.turns)
        self.results["turns"] = samples
        report.turns(samples)
        stages = await self._platform.stages(ONE_TOOL, 3 * self._sizes.turns)
        self.results["stages"] = stages
        report.stages(stages)

    async def load(self) -> None:
        """One-tool sessions per second, and where the CPU went."""
        measured: list[dict[str, Any]] = []
        await self._platform.load(ONE_TOOL, 40, 8)  # fills caches and the warm stock
        meter = PhaseMeter({"platform": self._up.pid, "stub": self._up.stub_pid})
        await asyncio.sleep(_IDLE_SECONDS)
        idle = meter.end()
        self.results["idle"] = asdict(idle)
        for concurrency, sessions in self._sizes.sessions.items():
            meter = PhaseMeter({"floor": self._floor.pid, "stub": self._up.stub_pid})
            floor = await self._floor.load(ONE_TOOL, sessions, concurrency)
            floor_cpu = meter.end().cpu
            meter = PhaseMeter({"platform": self._up.pid, "stub": self._up.stub_pid})
            load = await self._platform.load(ONE_TOOL, sessions, concurrency)
            phase = meter.end()
            measured.append(
                {"concurrency": concurrency, **_row(load, phase), "floor": {**asdict(floor), "cpu": floor_cpu}}
            )
        self.results["load"] = measured
        report.load(measured)
        report.cpu(measured, idle)

    async def memory(self) -> None:
        """What 100 live sessions take, without and with tools."""
        for name, text in (("text only", TURNS["text"]), ("one tool", ONE_TOOL)):
            measured = await per_session(self._platform, self._up.pid, self._up.url, text, self._sizes.live)
            self.results.setdefault("memory", {})[name] = measured
            report.memory(name, measured)

    async def leak(self) -> None:
        """Memory, processes and descriptors over many sessions."""
        with report.progress("leak check", self._sizes.leak) as step:
            points = await leak(
                self._platform, self._up.pid, self._up.url, ONE_TOOL, self._sizes.leak, self._sizes.leak // 20, step
            )
        rest = await resting(self._up.pid, self._up.url, self._sizes.rest)
        self.results["leak"] = [asdict(point) for point in points]
        self.results["leak_rest"] = [asdict(point) for point in rest]
        report.leak(points, rest)

    async def profile(self) -> None:
        """The heaviest functions of each part while 32 clients work."""
        concurrency = 32
        sessions = self._sizes.sessions[concurrency]
        before = thread_cpu(self._up.pid)
        await self._platform.load(ONE_TOOL, sessions, concurrency)
        threads = {part: spent - before[part] for part, spent in thread_cpu(self._up.pid).items()}
        report.threads(threads, sessions)
        with profiled(self._up.pid, _PROFILE_SECONDS):
            await self._platform.load(ONE_TOOL, sessions, concurrency)
        report.console.print(f"profiles: {FOLDER}/*.txt")

    async def parallel(self) -> None:
        """Four sleeping tools: from the end of the model's answer to the last result, by the events' own times."""
        events = await self._platform.events(SLEEPS, self._sizes.sleeps + 1)
        spans = report.tool_spans(events)[1:]
        self.results["parallel_sleep"] = spans
        report.parallel(spans)


def _row(load: Load, phase: Phase) -> dict[str, Any]:
    cpu = {**phase.cpu, "load client": load.client_cpu}
    others = phase.machine - sum(cpu.values())
    return {
        **asdict(load),
        "cpu": cpu,
        "others_cpu": others,
        "phase_seconds": phase.seconds,
        "load1": phase.load_average,
    }


async def run(up: Deployment, sizes: Sizes, parts: list[str]) -> dict[str, Any]:
    platform = await PlatformDriver.open(up.url)
    async with FloorDriver.running(up.stub_url) as floor:
        bench = Bench(up, platform, floor, sizes)
        at_rest = await footprint(up.pid, up.url, 0)
        bench.results["rest"] = asdict(at_rest)
        report.rest(up.ready_seconds, at_rest)
        for part in parts:
            await getattr(bench, part)()
    platform.close()
    return bench.results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turns", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, under 90 s")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(USUAL), help="measure only these")
    parser.add_argument("--leak-sessions", type=int, help="sessions of the leak check")
    parser.add_argument("--leak", action="store_true", help="also run the leak check (2000 sessions)")
    parser.add_argument("--profile", action="store_true", help="also record where each part spends its time")
    given = parser.parse_args()
    parts = [*given.only, *(["leak"] if given.leak else []), *(["profile"] if given.profile else [])]
    sizes = QUICK if given.quick else FULL
    if given.leak_sessions:
        sizes = replace(sizes, leak=given.leak_sessions)
    with running_stub() as (stub_url, stub_pid), running_platform(stub_url, stub_pid) as up:
        results = uvloop.run(run(up, sizes, parts))
    report.targets(results)
    file = write_results("turns", results)
    report.written(file, os.getloadavg())


if __name__ == "__main__":
    main()
