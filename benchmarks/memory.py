"""What the whole deployment keeps in memory: at rest, per live session, and after many of them.

Memory is proportional (PSS) over the platform's process tree. A live session has had a turn and has
its stream open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.drivers import PlatformDriver
from benchmarks.processes import Snapshot, counts, memory, snapshot
from benchmarks.raw_http import Api

SETTLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """The deployment at one moment."""

    sessions: int
    at: float
    pss: dict[str, int]
    unbacked: dict[str, int]
    counts: dict[str, int]
    figures: dict[str, Any] = field(default_factory=lambda: {})

    @property
    def total(self) -> int:
        return sum(self.pss.values())


async def footprint(root: int, url: str, sessions: int) -> Footprint:
    """Read the deployment once it has settled."""
    await asyncio.sleep(SETTLE_SECONDS)
    processes = await asyncio.to_thread(snapshot, root)
    (pss, unbacked), numbers = await asyncio.to_thread(_read, processes)
    api = await Api.open(url)
    figures = await api.get("/-/readyz")
    api.close()
    return Footprint(sessions, time.monotonic(), pss, unbacked, numbers, figures)


def _read(processes: Snapshot) -> tuple[tuple[dict[str, int], dict[str, int]], dict[str, int]]:
    return memory(processes), counts(processes)


async def per_session(platform: PlatformDriver, root: int, url: str, text: str, sessions: int) -> dict[str, Any]:
    """Memory before, with, and after *sessions* live sessions that each had a turn of *text*."""
    before = await footprint(root, url, 0)
    streams = await platform.live(text, sessions)
    during = await footprint(root, url, sessions)
    for stream in streams:
        stream.close()
    after = await footprint(root, url, 0)
    return {"before": asdict(before), "during": asdict(during), "after": asdict(after)}


async def resting(root: int, url: str, seconds: float) -> list[Footprint]:
    """Read the deployment again and again while nothing is asked of it: what grows by itself is no leak of sessions."""
    points = [await footprint(root, url, 0)]
    while points[-1].at - points[0].at < seconds:
        points.append(await footprint(root, url, 0))
    return points


async def leak(
    platform: PlatformDriver, root: int, url: str, text: str, sessions: int, batch: int, step: Callable[[int], None]
) -> list[Footprint]:
    """Run *sessions* one-turn sessions in batches and read the deployment after each."""
    points: list[Footprint] = []
    for done in range(batch, sessions + 1, batch):
        await platform.load(text, batch, 8)
        points.append(await footprint(root, url, done))
        step(done)
    return points
