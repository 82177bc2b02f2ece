"""Sandboxes that are kept warm: only what has booted counts, and how often that helps can be read off."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.clock import ManualClock
from agents.hands.host import HostStats
from agents.hands.layer import Layer
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs
from agents.hands.warm_demand import WarmDemand
from agents.hands.warm_stock import WarmStock
from agents.telemetry.metrics import render_metrics


class Boots:
    """A driver whose sandboxes boot as slowly as the test says, or fail to."""

    warmable = True

    def __init__(self) -> None:
        self.started = asyncio.Semaphore(0)
        self.boot: asyncio.Queue[bool] = asyncio.Queue()

    async def start(self, dirs: SandboxDirs, layer: Layer | None = None) -> Any:
        self.started.release()
        if not await self.boot.get():
            raise SandboxUnavailable("it did not come up")
        return SimpleNamespace(alive=True, layer=layer)


class Root:
    """Directories that are only counted."""

    def __init__(self) -> None:
        self.made = 0
        self.discarded: list[Path] = []

    def make_warm(self) -> SandboxDirs:
        self.made += 1
        return SandboxDirs(Path(f"/nowhere/{self.made}"), None, Path("/nowhere"))

    def discard(self, base: Path) -> None:
        self.discarded.append(base)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def pass_time(clock: ManualClock) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    clock.advance(60)
    for _ in range(20):
        await asyncio.sleep(0)


async def nothing(_: SandboxDirs) -> None: ...


async def test_a_sandbox_that_still_boots_is_never_handed_out_and_one_that_failed_is_cleaned_up(
    clock: ManualClock,
) -> None:
    """Asks 44, 45, 50: booting machines were claimed as warm ones, and those that failed to start stayed behind."""
    driver, root = Boots(), Root()
    stock = WarmStock(WarmDemand(1, 1, clock), root, driver, clock, nothing)  # type: ignore[arg-type]
    stock.refill()
    await pass_time(clock)
    assert not driver.started.locked(), "it boots"
    assert stock.take() is None and len(stock) == 0
    driver.boot.put_nowait(False)
    await pass_time(clock)
    assert root.discarded == [Path("/nowhere/1")] and stock.take() is None
    driver.boot.put_nowait(True)
    await pass_time(clock)
    assert len(stock) == 1
    ready = stock.take()
    assert ready is not None and ready.dirs.base == Path("/nowhere/2")
    assert stock.take() is None, "handed out once"


async def test_sandboxes_of_one_kind_are_never_handed_out_as_another(clock: ManualClock) -> None:
    """Ask 50: kinds of machine were mixed in the pool. A warm sandbox without packages is none for who needs them."""
    driver, root = Boots(), Root()
    stock = WarmStock(WarmDemand(1, 1, clock), root, driver, clock, nothing)  # type: ignore[arg-type]
    driver.boot.put_nowait(True)
    stock.refill()
    await pass_time(clock)
    assert stock.take(Layer("one", Path("/nowhere"))) is None and len(stock) == 1
    assert stock.take() is not None


def test_hits_and_times_of_starts_are_published() -> None:
    """Asks 49, 50: nobody could see how often the warm pool helped, or what a start costs."""
    stats = HostStats(**{name: number for number, name in enumerate(HostStats.__dataclass_fields__)})
    text = render_metrics({}, {"host-0": asdict(stats)}).decode()
    starts = ("provisions", "provision_seconds", "failures", "restores", "restore_seconds")
    for name in ("claims", "warm_hits", "claim_seconds", "orphans", *starts):
        assert f'hecaton_sandboxes_{name}{{host="host-0"}} {float(getattr(stats, name))}' in text
