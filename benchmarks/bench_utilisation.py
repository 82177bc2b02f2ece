"""Claim: apart from hands, a brain works on while tools run; in a monolith its places stand idle for as long.

The model server is a stub that takes a fixed time for a request, and the brain gives it as many at a time as it has
places: a GPU that can do no more. The stub counts how long it was at work on how many. More sessions than there are
places work without a pause, in turns without tools and in turns in which a tool of a second follows every model
request but the last, by turns, on a platform of either topology. Falsified when, decoupled, the tools leave less than
0.95 of the utilisation without them, or when the monolith's part is more than 5 % off theory, the share of a turn that
is thought: a baseline that does worse or better is none.

Beside the claim: what a thousand turns cost at a GPU's hourly price, and how far the cores were from deciding anything.

Run: ``python -m benchmarks.bench_utilisation [--repeats N]``; 5 minutes for each repeat.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
import uvloop
from anthropic import AsyncAnthropic
from rich.console import Console
from rich.table import Table

from agents.experiments.running.raw_http import WAIT_SECONDS, events_of
from benchmarks.deployment import Deployment, running_platform, running_stub
from benchmarks.processes import PhaseMeter
from benchmarks.raw_http import IDLE, Api, user_message
from benchmarks.report import verdict
from benchmarks.samples import ratio_of_means
from benchmarks.utilisation import Turn, Window, dollars, hands_seconds

_SHARE = 0.95
_TOLERANCE = 0.05
_SLICE_SECONDS = 5.0
TOPOLOGIES = ("decoupled", "monolith")
FREE, TOOLS = "no tools", "tools"
_FAULT = b"event: session.error\n"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is run."""

    turn: Turn
    places: int
    saturation: float
    seconds: float
    repeats: int

    @property
    def sessions(self) -> int:
        """The same number for all cases: enough for the one with tools."""
        return self.turn.sessions(self.places, self.saturation)

    def turns(self) -> dict[str, Turn]:
        return {FREE: replace(self.turn, rounds=0), TOOLS: self.turn}


class Load:
    """Sessions that go from turn to turn, until it is over."""

    def __init__(self, platform: Deployment, turn: Turn, sizes: Sizes) -> None:
        self._platform = platform
        self._message = user_message(turn.directive())
        self._turn_seconds = WAIT_SECONDS + 2 * sizes.turn.seconds * sizes.sessions / sizes.places
        self._over = False
        self.hands: list[float] = []

    async def run(self, sessions: int, places: int, spread: float) -> None:
        """Run *sessions*. The first begin *spread* seconds apart in all, so that no wave of them goes in step."""
        # With the SDK, which repeats: a proxy that has just started may start anew, and ends connections then.
        async with AsyncAnthropic(base_url=self._platform.url, api_key="k") as client:
            tools: Any = [{"type": "agent_toolset_20260401"}]
            agent = await client.beta.agents.create(name="bench", model="claude-opus-4-6", tools=tools)
            environment = await client.beta.environments.create(name="bench-" + secrets.token_hex(6))
        body = orjson.dumps({"agent": agent.id, "environment_id": environment.id})
        async with asyncio.TaskGroup() as group:
            for number in range(sessions):
                group.create_task(self._session(body, spread * min(1.0, number / places)))

    def end(self) -> None:
        """Let turns under way be the last."""
        self._over = True

    async def _session(self, body: bytes, start: float) -> None:
        await asyncio.sleep(start)
        async with _asking(self._platform.url) as api:
            session = await api.new_session(body)
            stream = await api.stream(session)
        place = 0
        try:
            while not self._over:
                async with _asking(self._platform.url) as api:
                    await api.send(session, self._message)
                place = await stream.until(IDLE, place, seconds=self._turn_seconds)
                if _FAULT in stream.body:
                    raise SystemExit(f"a session failed: {bytes(stream.body[-3000:])!r}")
            self.hands += hands_seconds(events_of(bytes(stream.body)))
        finally:
            stream.close()


async def one_window(platform: Deployment, turn: Turn, sizes: Sizes) -> Window:
    """Bring the load on, wait until it is steady, measure, and let it end."""
    load, spread = Load(platform, turn, sizes), sizes.turn.seconds
    running = asyncio.create_task(load.run(sizes.sessions, sizes.places, spread))
    await _sleep_beside(running, 2 * spread)
    meter, own = PhaseMeter({"platform": platform.pid, "stub": platform.stub_pid}), time.process_time()
    readings = [await _occupancy(platform.stub_url)]
    while readings[-1]["at"] - readings[0]["at"] < sizes.seconds:
        await _sleep_beside(running, min(_SLICE_SECONDS, sizes.seconds))
        readings.append(await _occupancy(platform.stub_url))
    phase, own = meter.end(), time.process_time() - own
    load.end()
    await running
    cpu = sum(seconds for part, seconds in phase.cpu.items() if part != "stub")
    return Window(readings, load.hands, cpu, max(0.0, phase.machine - sum(phase.cpu.values()) - own))


@contextlib.asynccontextmanager
async def _asking(url: str) -> AsyncGenerator[Api]:
    """Open a connection for a moment: servers close those on which nothing is asked for some seconds."""
    api = await Api.open(url)
    try:
        yield api
    finally:
        api.close()


async def _occupancy(stub_url: str) -> dict[str, float]:
    async with _asking(stub_url) as api:
        return await api.get("/_occupancy")


async def _sleep_beside(running: asyncio.Task[None], seconds: float) -> None:
    """Sleep, or raise what ended the load."""
    done, _ = await asyncio.wait({running}, timeout=seconds)
    if done:
        running.result()
        raise SystemExit("the load ended by itself")


Measured = dict[str, dict[str, list[Window]]]
"""Windows by topology and kind of turn."""


def measure(console: Console, sizes: Sizes) -> Measured:
    """Run both topologies one after the other, and on each both kinds of turn, in another order each time."""
    measured: Measured = {topology: {FREE: [], TOOLS: []} for topology in TOPOLOGIES}
    with running_stub() as (stub_url, stub_pid):
        for number in range(sizes.repeats):
            order = -1 if number % 2 else 1
            for topology in TOPOLOGIES[::order]:
                options = ("--topology", topology, "--set", f"brain.max_ongoing_requests={sizes.places}")
                with running_platform(stub_url, stub_pid, *options) as platform:
                    for kind, turn in list(sizes.turns().items())[::order]:
                        window = uvloop.run(one_window(platform, turn, sizes))
                        measured[topology][kind].append(window)
                        busy = statistics.fmean(window.busy(sizes.places))
                        console.print(f"[dim]{number + 1}: {topology}, {kind}: {busy:.3f} of the places in use[/dim]")
    return measured


def judge(console: Console, measured: Measured, sizes: Sizes, gpu_hour: float) -> bool:
    """Print the figures; returns whether the claim stands."""
    price = f"1000 turns at {gpu_hour:g} USD/h"
    columns = ("in use", "requests/s", "turns/s", "place-seconds a turn", price, "its cores", "others' cores")
    table = Table("topology", "turns", *columns)
    for topology, kinds in measured.items():
        for kind, windows in kinds.items():
            table.add_row(topology, kind, *_row(windows, sizes.turns()[kind], sizes.places, gpu_hour))
    console.print(table)
    ratios = {topology: _ratio(kinds, sizes.places) for topology, kinds in measured.items()}
    hands = statistics.fmean(each for window in measured["monolith"][TOOLS] for each in window.hands)
    theory = replace(sizes.turn, hands=hands).thinking_share
    table = Table("utilisation with tools, of that without", "ratio (95 %)", "theory", "limit")
    limits = {"decoupled": ("1", f">= {_SHARE}"), "monolith": (f"{theory:.3f}", f"theory +- {100 * _TOLERANCE:g} %")}
    for topology, (ratio, low, high) in ratios.items():
        table.add_row(topology, f"{ratio:.3f} ({low:.3f}-{high:.3f})", *limits[topology])
    console.print(table)
    most = max(window.readings[-1]["most"] for kinds in measured.values() for each in kinds.values() for window in each)
    nominal = sizes.turn.thinking_share
    console.print(
        f"{sizes.sessions} sessions, {sizes.places} places of {sizes.turn.think:g} s; a tool of {sizes.turn.hands:g} s"
        f" keeps the monolith {hands:.3f} s (theory with {sizes.turn.hands:g} s: {nominal:.3f});"
        f" at most {most:.0f} requests at a time"
    )
    if most > sizes.places:
        console.print("[red]the brain let more requests through than it has places[/red]")
    apart, together = ratios["decoupled"][0], ratios["monolith"][0]
    return most <= sizes.places and apart >= _SHARE and abs(together / theory - 1) <= _TOLERANCE


def _row(windows: Sequence[Window], turn: Turn, places: int, gpu_hour: float) -> tuple[str, ...]:
    seconds = sum(window.seconds for window in windows)
    requests = sum(window.requests for window in windows) / seconds
    # Not counted by their ends: sessions go through their turns side by side, and many end at one time.
    turns = requests / turn.requests
    busy = [share for window in windows for share in window.busy(places)]
    return (
        f"{statistics.fmean(busy):.3f} ({min(busy):.3f}-{max(busy):.3f})",
        f"{requests:.2f}",
        f"{turns:.2f}",
        f"{places / turns:.2f}",
        f"{dollars(gpu_hour, turns):.3f} USD",
        f"{sum(window.cpu for window in windows) / seconds:.2f}",
        f"{sum(window.others_cpu for window in windows) / seconds:.2f}",
    )


def _ratio(kinds: dict[str, list[Window]], places: int) -> tuple[float, float, float]:
    with_tools, without = ([share for window in kinds[kind] for share in window.busy(places)] for kind in (TOOLS, FREE))
    return ratio_of_means(with_tools, without)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_utilisation")
    parser.add_argument("--repeats", type=int, default=2, help="platforms of each topology")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measured window")
    parser.add_argument("--places", type=int, default=8, help="model requests at a time")
    parser.add_argument("--think", type=float, default=1.0, help="seconds of a model request")
    parser.add_argument("--hands", type=float, default=1.0, help="seconds of a tool")
    parser.add_argument("--rounds", type=int, default=3, help="tools in a turn")
    parser.add_argument("--saturation", type=float, default=1.5, help="sessions, in those that keep all places in use")
    parser.add_argument("--gpu-hour", type=float, default=2.5, help="USD for the GPU behind all places, an hour")
    options = parser.parse_args()
    turn = Turn(options.think, options.hands, options.rounds)
    sizes = Sizes(turn, options.places, options.saturation, options.seconds, options.repeats)
    console = Console(highlight=False, width=140)
    measured = measure(console, sizes)
    stands = judge(console, measured, sizes, options.gpu_hour)
    windows = {
        topology: {kind: [asdict(window) for window in each] for kind, each in kinds.items()}
        for topology, kinds in measured.items()
    }
    results = {"sizes": asdict(sizes), "gpu_hour": options.gpu_hour, "windows": windows}
    return verdict(console, "utilisation", results, stands=stands)


if __name__ == "__main__":
    raise SystemExit(main())
