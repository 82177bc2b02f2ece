"""Claim: whichever part is away, new sessions go to the standby monolith and back by themselves, and no session fails.

Sessions with a tool call begin all the time while, one after the other, the only sandbox host is stopped, the replicas
of the brain are killed again and again, and the only harness is stopped; each until a while after the switch. Falsified
by one turn that does not end well, one request that fails for a client that repeats it as the SDK does, a switch or a
return that does not come, or one session that went to the parts while all were to go to the monolith.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
from anthropic import AsyncAnthropic
from rich.console import Console
from rich.table import Table

from benchmarks.deployment import Deployment, running_platform, running_stub
from benchmarks.report import verdict
from benchmarks.samples import quantile

_BOUNDS = {"outage_seconds": 3, "pause_seconds": 5, "trial_seconds": 3, "min_requests": 5, "trial_share": 0.5}
"""Short ones: the claim is about the way there and back, not about patience."""
_WORDS = 'stub: rounds=1 command="echo one > f" text="ok" delay=0.05'
_TURN_SECONDS = 120.0
_SWITCH_SECONDS = 90.0
_LOOK_SECONDS = 0.1
_KILL_SECONDS = 0.3
_PARTS = {
    "sandbox host": "ray::SandboxHostActor",
    "brain": "ray::ServeReplica:hecaton-brain",
    "harness": "ray::Harness",
}


@dataclass(slots=True)
class Seen:
    """What the sessions went through."""

    turns: list[tuple[str, str, float]] = field(default_factory=lambda: [])
    """Phase in which the session was made, who took it, and seconds to its end."""
    faults: list[str] = field(default_factory=lambda: [])


class Load:
    """Sessions of one turn each, one after the other, and the phase in which they are."""

    def __init__(self, url: str) -> None:
        self.client = AsyncAnthropic(base_url=url, api_key="k", timeout=_TURN_SECONDS)
        self.http = httpx.AsyncClient(base_url=url, timeout=_TURN_SECONDS)
        self.phase = "before"
        self.seen = Seen()
        self.over = False

    async def work(self, agent: str, environment: str, only: str | None = None) -> None:
        """Run one session after another until it is over, or until another phase than *only*."""
        while not self.over and only in (None, self.phase):
            phase, started = self.phase, time.perf_counter()
            try:
                async with asyncio.timeout(_TURN_SECONDS):
                    side = await self._session(phase, agent, environment)
            except Exception as error:
                self.seen.faults.append(f"{phase}: {error!r}")
                continue
            self.seen.turns.append((phase, side, time.perf_counter() - started))

    async def _session(self, phase: str, agent: str, environment: str) -> str:
        """Run a session to its end; returns who took it."""
        session = (await self.client.beta.sessions.create(agent=agent, environment_id=environment)).id
        words: Any = {"type": "user.message", "content": [{"type": "text", "text": _WORDS}]}
        await self.client.beta.sessions.events.send(session, events=[words])
        while True:
            page = await self.client.beta.sessions.events.list(session, limit=1000)
            log = [event.to_dict(mode="json") for event in page.data]
            if log[-1]["type"] == "session.status_idle":
                break
            await asyncio.sleep(_LOOK_SECONDS)
        bad = [each for each in log if each["type"] == "agent.tool_result" and each["is_error"]]
        if bad or log[-1]["stop_reason"] != {"type": "end_turn"}:
            self.seen.faults.append(f"{phase}: {session}: {bad or log[-1]['stop_reason']}")
        return str((await self.http.get(f"/-/topology/sessions/{session}")).json()["topology"])

    async def until(self, mode: str) -> str:
        """Wait until new sessions go as *mode* says; returns why they do."""
        async with asyncio.timeout(_SWITCH_SECONDS):
            while True:
                with suppress(httpx.TransportError):
                    told = (await self.http.get("/-/topology")).json()
                    if told.get("mode") == mode and told["replicas"]:
                        return told["reason"]
                await asyncio.sleep(_LOOK_SECONDS)


def _processes(platform: Deployment, part: str) -> list[psutil.Process]:
    found = list[psutil.Process]()
    for process in psutil.Process(platform.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(_PARTS[part]):
                found.append(process)
    return found


@asynccontextmanager
async def _away(platform: Deployment, part: str) -> AsyncIterator[None]:
    """Keep a part away meanwhile: a brain's replicas are killed as often as they come, the others are stopped."""
    if part == "brain":
        killing = asyncio.create_task(_kill(platform))
        try:
            yield
        finally:
            killing.cancel()
        return
    stopped = _processes(platform, part)
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def _kill(platform: Deployment) -> None:
    while True:
        for process in await asyncio.to_thread(_processes, platform, "brain"):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.sleep(_KILL_SECONDS)


async def measure(platform: Deployment, options: argparse.Namespace) -> dict[str, Any]:
    load = Load(platform.url)
    tools: Any = [{"type": "agent_toolset_20260401"}]
    agent = (await load.client.beta.agents.create(name="a", model="m", tools=tools)).id
    environment = (await load.client.beta.environments.create(name="e")).id
    await load.until("decoupled")
    workers = [asyncio.create_task(load.work(agent, environment)) for _ in range(options.sessions)]
    await asyncio.sleep(options.seconds)
    faults: list[dict[str, Any]] = []
    for part in _PARTS:
        began = time.perf_counter()
        async with _away(platform, part):
            load.phase = f"{part} away"
            why = await load.until("monolith")
            there = time.perf_counter() - began
            await asyncio.sleep(2.0)  # every gateway has heard of it
            load.phase = f"{part} away, monolith"
            # Those that worked at the parts may wait for them until they are back.
            workers += [asyncio.create_task(load.work(agent, environment, load.phase)) for _ in range(options.sessions)]
            await asyncio.sleep(options.seconds)
            load.phase = f"{part} comes back"
        ended = time.perf_counter()
        await load.until("decoupled")
        faults.append({"part": part, "why": why, "there": there, "back": time.perf_counter() - ended})
        await asyncio.sleep(2.0)
        load.phase = f"after {part}"
        await asyncio.sleep(options.seconds)
    load.over = True
    await asyncio.gather(*workers)
    for part in _PARTS:
        sides = {side for phase, side, _ in load.seen.turns if phase == f"{part} away, monolith"}
        if sides != {"monolith"}:
            load.seen.faults.append(f"{part} away: new sessions went to {sides or 'nobody'}")
    return {"turns": load.seen.turns, "faults": load.seen.faults, "switches": faults}


def judge(console: Console, results: dict[str, Any]) -> bool:
    """Print the figures; returns whether the claim stands."""
    table = Table("sessions made", "turns", "p50 s", "longest s", "taken by")
    for phase in dict.fromkeys(phase for phase, _, _ in results["turns"]):
        turns = [seconds for each, _, seconds in results["turns"] if each == phase]
        sides = Counter(side for each, side, _ in results["turns"] if each == phase)
        shares = ", ".join(f"{side} {count}" for side, count in sorted(sides.items()))
        table.add_row(phase, str(len(turns)), f"{quantile(turns, 0.5):.2f}", f"{max(turns):.2f}", shares)
    console.print(table)
    for each in results["switches"]:
        console.print(
            f"{each['part']}: switched after {each['there']:.1f} s ({each['why']}), back {each['back']:.1f} s"
        )
    for fault in results["faults"][:20]:
        console.print(fault, markup=False)
    console.print(f"faults: {len(results['faults'])}")
    return not results["faults"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_standby")
    parser.add_argument("--sessions", type=int, default=8, help="at work at a time")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    options = parser.parse_args()
    console = Console(highlight=False)
    bounds = {"standby.enabled": "true", **{f"standby.{name}": value for name, value in _BOUNDS.items()}}
    chosen = [word for key, value in bounds.items() for word in ("--set", f"{key}={value}")]
    with running_stub() as (stub_url, stub_pid), running_platform(stub_url, stub_pid, *chosen) as platform:
        results = asyncio.run(measure(platform, options))
    stands = judge(console, results)
    return verdict(console, "standby", results, stands=stands)


if __name__ == "__main__":
    raise SystemExit(main())
