"""Claim: a spike gets more replicas than ``max_replicas``, as many as the money pays for, and then gives them back.

On a Ray cluster with a node of five logical GPUs a brain has two versions on one GPU each. Requests come for version 1
that four places cannot hold. Falsified by a request that fails, a moment at which the two cost more than the brain's
ceiling, a burst that does not begin, is not told (metric, Serve's log) or is not taken back.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.report import verdict
from tests.chaos.cluster import ClusterProcess, ray_environment
from tests.cluster.instance import Instance
from tests.conformance.platform import LivePlatform, settings_for
from tests.stub_model import stub_in_thread

_GPU_HOUR, _CEILING = 2.5, 10.0
_PLACES = 4
_BRAIN: dict[str, Any] = {
    "engine": "claude",
    "model": "m",
    "resources": {"num_gpus": 1},
    "max_ongoing_requests": _PLACES,
    "price": {"gpu_hour": _GPU_HOUR, "ceiling_usd_per_hour": _CEILING},
    "scaling": {
        "target_ongoing_requests": _PLACES,
        "upscale_delay_seconds": 1,
        "downscale_delay_seconds": 5,
        "burst": {"usd_per_hour": _CEILING, "start_seconds": 5},
    },
    "versions": {"2": {"scaling": {"burst": {"usd_per_hour": None}}}},
}
_PATIENCE_SECONDS = 240.0
_LOOK_SECONDS = 0.5
_FIGURE = re.compile(r'^hecaton_brain_(\w+)\{brain="gpu"\} (\S+)$', re.MULTILINE)


@dataclass(slots=True)
class Seen:
    """Figures of the brain over time, and how its requests ended."""

    figures: list[tuple[float, dict[str, float]]] = field(default_factory=lambda: [])
    statuses: list[int] = field(default_factory=lambda: [])
    told: list[str] = field(default_factory=lambda: [])


@contextmanager
def _platform(scratch: Path) -> Iterator[LivePlatform]:
    with stub_in_thread(keep=0) as stub:
        base = settings_for(scratch, stub.url)
        cluster = ClusterProcess(scratch, base, head_cpus=2)
        try:
            cluster.add("gpus", cpus=2, gpus=5)
            environment = {**ray_environment(base), "RAY_ADDRESS": cluster.address}
            instance = Instance(scratch / "data", stub.url, environment=environment, brains={"gpu": _BRAIN})
            try:
                yield LivePlatform(instance.up(), stub)
            finally:
                instance.down()
        finally:
            cluster.close()


async def _ask(http: httpx.AsyncClient, seconds: float) -> int:
    words = {"role": "user", "content": f'stub: text="ok" delay={seconds:g}'}
    body = {"model": "gpu@1", "max_tokens": 50, "messages": [words]}
    return (await http.post("/v1/messages", json=body)).status_code


async def _watch(http: httpx.AsyncClient, seen: Seen, began: float) -> None:
    while True:
        with suppress(httpx.HTTPError):
            text = (await http.get("/metrics")).text
            figures = {name: float(value) for name, value in _FIGURE.findall(text)}
            if figures:
                seen.figures.append((time.perf_counter() - began, figures))
        await asyncio.sleep(_LOOK_SECONDS)


async def measure(platform: LivePlatform, options: argparse.Namespace) -> tuple[Seen, float]:
    """Send the spike and wait until it is over; returns what was seen, and when the last answer came."""
    seen, began = Seen(), time.perf_counter()
    headers, limits = {"x-api-key": platform.key}, httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=platform.url, headers=headers, timeout=_PATIENCE_SECONDS, limits=limits
    ) as http:
        watching = asyncio.create_task(_watch(http, seen, began))
        seen.statuses = list(await asyncio.gather(*_spike(http, options)))
        answered = time.perf_counter() - began
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not seen.figures or _beyond(seen.figures[-1][1]):
                await asyncio.sleep(_LOOK_SECONDS)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    return seen, answered


def _spike(http: httpx.AsyncClient, options: argparse.Namespace) -> list[Any]:
    return [_ask(http, options.delay) for _ in range(options.requests)]


def _beyond(figures: dict[str, float]) -> float:
    return figures.get("replicas_beyond_max", 0.0)


def _told(scratch: Path) -> list[str]:
    """Return what Serve's controller logged of bursts."""
    lines = [line for file in scratch.rglob("controller_*.log") for line in file.read_text().splitlines()]
    return [line.partition(" -- ")[2] or line for line in lines if "burst" in line]


def judge(console: Console, seen: Seen, answered: float) -> bool:
    """Print the figures; returns whether the claim stands."""
    table = Table("s", "replicas", "beyond max", "USD/h")
    before: dict[str, float] = {}
    for at, figures in seen.figures:
        if figures != before:
            shown = (figures["replicas_running"], _beyond(figures), figures["usd_per_hour"])
            table.add_row(f"{at:.1f}", *(f"{each:g}" for each in shown))
        before = figures
    console.print(table)
    dearest = max(figures["usd_per_hour"] for _, figures in seen.figures)
    most = max(_beyond(figures) for _, figures in seen.figures)
    over = seen.figures[-1][0] - answered
    console.print(
        f"{len(seen.statuses)} requests, the last answered after {answered:.1f} s, usual again {over:.1f} s later"
    )
    for line in seen.told:
        console.print(line, markup=False)
    holds = {
        "every request is answered": set(seen.statuses) == {200},
        f"never above {_CEILING:g} USD per hour": dearest <= _CEILING,
        "two replicas beyond the usual, as the money pays for": most == 2,
        "begun and over are in Serve's log": len(seen.told) >= 2 and "over" in seen.told[-1],
    }
    for claim, stands in holds.items():
        console.print(f"{'ok' if stands else '[red]missed[/red]'}: {claim}")
    return all(holds.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_burst")
    parser.add_argument("--requests", type=int, default=36)
    parser.add_argument("--delay", type=float, default=20.0, help="seconds that the model takes for each")
    options = parser.parse_args()
    console = Console(highlight=False)
    # Short, for Ray puts sockets below it; passable, for sandboxes have users of their own.
    scratch = Path(tempfile.mkdtemp(prefix="hb-"))
    scratch.chmod(0o755)
    try:
        with _platform(scratch) as platform:
            seen, answered = asyncio.run(measure(platform, options))
            seen.told = _told(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    stands = judge(console, seen, answered)
    results = {"figures": seen.figures, "statuses": seen.statuses, "answered": answered, "told": seen.told}
    return verdict(console, "burst", results, stands=stands)


if __name__ == "__main__":
    raise SystemExit(main())
