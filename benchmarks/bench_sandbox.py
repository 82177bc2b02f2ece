"""Claim: a sandbox is cheap enough to start one lazily for every session.

Falsified when a warm sandbox takes more than 30 ms (p50) to answer its first call, a cold one more than
150 ms, or four parallel ``sleep 0.2`` calls more than 350 ms. The floor in the same run is what a bare
``bwrap ... true`` and a bare ``sh -c true`` cost on this machine. The second table is processor time, which
other load on the machine hardly changes: the host's own, and that of the sandboxes' processes once reaped.

Run: ``python -m benchmarks.bench_sandbox [--rounds N] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agents.config import SandboxSettings
from agents.experiments.running.machine import machine_description
from agents.hands.host import SandboxHost
from agents.hands.port import ToolCall, Workspace

_ids = itertools.count()
# Host and sandbox processes at d636e4e, when a sandbox had 19 mounts (now 10) and began as setpriv; 2 cores, tmpfs.
_BEFORE = {
    "true in a fresh session, an older one put away": (2.9, 7.8),
    "true in a fresh session, destroyed after it": (3.2, 8.5),
    "true in the same session": (0.27, 0.0),
}
_LIMITS_MS = {"warm: first call": 30.0, "cold: first call": 150.0, "4 parallel sleep 0.2": 350.0}


async def call(host: SandboxHost, session: str, *bodies: tuple[str, dict[str, Any]]) -> None:
    """Run one batch and insist that it works."""
    calls = [ToolCall(f"call_{next(_ids)}", name, body) for name, body in bodies]
    async for result in host.execute(Workspace(session), calls):
        assert not result.is_error, result.content


async def timed(rounds: int, work: Callable[[int], Awaitable[None]]) -> list[float]:
    """Return the milliseconds of each round."""
    samples: list[float] = []
    for number in range(rounds):
        began = time.perf_counter()
        await work(number)
        samples.append((time.perf_counter() - began) * 1000)
    return samples


def bare(rounds: int, *argv: str) -> list[float]:
    """Return the milliseconds that a bare program takes."""
    samples: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(argv, check=True)
        samples.append((time.perf_counter() - began) * 1000)
    return samples


async def started(root: Path, warm: int) -> SandboxHost:
    """Return a running host whose stock is full."""
    host = SandboxHost(SandboxSettings(warm=warm, max_live=4096), root)
    await host.start()
    await full(host, warm)
    return host


async def full(host: SandboxHost, warm: int, *, pause: float = 0.005) -> None:
    """Wait until the stock is full, looking every *pause* seconds."""
    async with asyncio.timeout(30):
        while host.stats().warm < warm:
            await asyncio.sleep(pause)


async def measure(rounds: int, root: Path) -> dict[str, list[float]]:
    """Return the samples of every measurement, in milliseconds."""
    true = ("bash", {"command": "true"})
    figures: dict[str, list[float]] = {"floor: sh -c true": bare(rounds, "sh", "-c", "true")}
    options = ["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    figures["floor: bwrap true"] = bare(rounds, "bwrap", *options, "true")

    cold = await started(root / "cold", 0)
    figures["cold: first call"] = await timed(rounds, lambda n: call(cold, f"sesn_{n}", true))
    await call(cold, "sesn_x", true, ("write", {"file_path": "f.txt", "content": "some text\n"}))
    figures["bash true"] = await timed(rounds * 5, lambda _: call(cold, "sesn_x", true))
    figures["read a file"] = await timed(rounds * 5, lambda _: call(cold, "sesn_x", ("read", {"file_path": "f.txt"})))
    figures["grep"] = await timed(rounds, lambda _: call(cold, "sesn_x", ("grep", {"pattern": "text"})))
    sleeps = [("bash", {"command": "sleep 0.2"})] * 4
    figures["4 parallel sleep 0.2"] = await timed(max(3, rounds // 5), lambda _: call(cold, "sesn_x", *sleeps))
    figures["destroy"] = await timed(rounds, lambda n: cold.release(f"sesn_{n}", destroy=True))
    await cold.stop()

    warm = await started(root / "warm", 1)
    samples: list[float] = []
    for number in range(rounds):
        await full(warm, 1)
        samples += await timed(1, lambda _, number=number: call(warm, f"sesn_{number}", true))
    assert warm.stats().warm_hits == rounds, "every measured sandbox came from the stock"
    figures["warm: first call"] = samples
    await warm.stop()
    return figures


async def measure_cpu(rounds: int, root: Path) -> dict[str, tuple[float, float]]:
    """Return the milliseconds of processor time per round, of the host and of what it started."""
    live = 8
    host = SandboxHost(SandboxSettings(warm=2, max_live=live), root)
    await host.start()
    true = ("bash", {"command": "true"})
    figures: dict[str, tuple[float, float]] = {}

    async def fresh(name: str) -> None:
        await full(host, 2, pause=0.03)  # looking costs time too
        await call(host, name, true)

    async def destroyed(name: str) -> None:
        await fresh(name)
        await host.release(name, destroy=True)

    async def spent(what: str, rounds: int, work: Callable[[int], Awaitable[None]]) -> None:
        own, theirs = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
        for number in range(rounds):
            await work(number)
        used = _cpu(resource.RUSAGE_SELF) - own, _cpu(resource.RUSAGE_CHILDREN) - theirs
        figures[what] = used[0] / rounds, used[1] / rounds

    for number in range(live + 2):  # from then on every new sandbox ends an older one
        await fresh(f"sesn_first{number}")
    await spent("true in a fresh session, an older one put away", rounds, lambda n: fresh(f"sesn_{n}"))
    await spent("true in a fresh session, destroyed after it", rounds, lambda n: destroyed(f"sesn_d{n}"))
    await call(host, "sesn_same", true)
    await spent("true in the same session", rounds * 5, lambda _: call(host, "sesn_same", true))
    await host.stop()
    return figures


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return (used.ru_utime + used.ru_stime) * 1000


def show_cpu(figures: dict[str, tuple[float, float]]) -> None:
    """Print the processor time."""
    table = Table(title="Processor time (milliseconds)")
    for column in ("what", "host", "before", "sandbox processes", "before"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, (own, theirs) in figures.items():
        table.add_row(name, f"{own:.2f}", f"{_BEFORE[name][0]:.2f}", f"{theirs:.2f}", f"{_BEFORE[name][1]:.2f}")
    Console().print(table)


def show(figures: dict[str, list[float]]) -> bool:
    """Print the table; True when every limit holds."""
    table = Table(title="Sandboxes (milliseconds)")
    for column in ("what", "rounds", "p50", "p95", "max", "limit (p50)"):
        table.add_column(column, justify="left" if column == "what" else "right")
    holds = True
    for name, samples in figures.items():
        ranked = sorted(samples)
        p50, p95 = statistics.median(ranked), ranked[min(len(ranked) - 1, int(len(ranked) * 0.95))]
        limit = _LIMITS_MS.get(name)
        kept = limit is None or p50 <= limit
        holds = holds and kept
        verdict = "" if limit is None else f"{limit:g} {'kept' if kept else 'MISSED'}"
        table.add_row(name, str(len(ranked)), f"{p50:.2f}", f"{p95:.2f}", f"{ranked[-1]:.2f}", verdict)
    Console().print(table)
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the raw samples and machine facts here")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="bench-sandbox-"))
    root.chmod(0o711)
    try:
        cpu = asyncio.run(measure_cpu(arguments.rounds * 5, root / "cpu"))
        figures = asyncio.run(measure(arguments.rounds, root))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if arguments.json:
        found = {"machine": machine_description(sys.argv), "milliseconds": figures, "cpu": cpu}
        arguments.json.write_text(json.dumps(found))
    show_cpu(cpu)
    return 0 if show(figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
