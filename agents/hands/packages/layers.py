"""The layers of one host: each built once for what is in it, shared by all sandboxes, kept while they are used.

    <root>/.layers/<digest>

Invariants: a directory of that name is whole and nobody changes it; one that a sandbox has mounted is not removed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import orjson

from agents.clock import Clock
from agents.hands.child_process import run_program
from agents.hands.layer import Layer
from agents.hands.packages.builder import BuildFailed, LayerBuilder
from agents.hands.packages.recipes import MANAGERS, variables
from agents.hands.packages.settings import PackageSettings
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxRoot

log = logging.getLogger(__name__)

_COUNT_SECONDS = 120.0


@dataclass(slots=True)
class LayerCounts:
    """What happened since the start."""

    layer_builds: int = 0
    layer_failures: int = 0
    layer_build_seconds: float = 0.0
    layers_evicted: int = 0


class Layers:
    """Finds, builds and removes layers."""

    def __init__(self, settings: PackageSettings, root: SandboxRoot, builder: LayerBuilder, clock: Clock) -> None:
        self.counts = LayerCounts()
        self._settings = settings
        self._root = root
        self._builder = builder
        self._clock = clock
        self._used: WeakValueDictionary[str, Layer] = WeakValueDictionary()
        """Those that a sandbox has: it holds on to its layer."""
        self._building: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, tuple[float, str]] = {}

    def digest(self, environment: Mapping[str, Any]) -> str:
        """Return the name of what an environment's packages are; empty without any."""
        packages: Mapping[str, Sequence[str]] = environment.get("packages") or {}
        wanted = {manager: list(packages[manager]) for manager in MANAGERS if packages.get(manager)}
        if not wanted:
            return ""
        # Where they come from and what they are built with is in what they are.
        facts = [wanted, self._settings.indexes, platform.machine(), os.path.realpath("/usr/bin/python3")]
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]

    async def of(self, environment: Mapping[str, Any]) -> Layer | None:
        """Return the layer of an environment, built if there is none; None without packages.

        Raises SandboxUnavailable when it cannot be built, or not in time: then the build goes on.
        """
        digest = self.digest(environment)
        if not digest:
            return None
        path = self._root.layers / digest
        if not path.is_dir():
            await self._built(digest, environment, path)
        os.utime(path)
        layer = self._used.get(digest)
        if layer is None:
            layer = self._used[digest] = Layer(digest, path, variables(environment["packages"]))
        return layer

    async def close(self) -> None:
        """Give up what is being built."""
        tasks = list(self._building.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _built(self, digest: str, environment: Mapping[str, Any], path: Path) -> None:
        failed = self._failed.get(digest)
        if failed is not None and self._holds(failed, self._clock.monotonic()):
            raise SandboxUnavailable(failed[1])
        task = self._building.get(digest)
        if task is None:
            task = self._building[digest] = asyncio.create_task(self._build(digest, environment, path))
            task.add_done_callback(lambda _: self._building.pop(digest, None))
        done, _ = await asyncio.wait({task}, timeout=self._settings.wait_seconds)
        if not done:
            raise SandboxUnavailable(
                "the packages of this environment are still being installed; try again in a few minutes"
            )
        if not task.cancelled() and (fault := task.exception()) is not None:
            said = self._failed.get(digest, (0.0, "The packages of this environment cannot be installed."))[1]
            raise SandboxUnavailable(said) from fault

    async def _build(self, digest: str, environment: Mapping[str, Any], path: Path) -> None:
        self._failed.pop(digest, None)
        self.counts.layer_builds += 1
        began = self._clock.monotonic()
        try:
            await self._builder.build(environment, path)
        except (BuildFailed, OSError, TimeoutError) as error:
            self.counts.layer_failures += 1
            said = error.message if isinstance(error, BuildFailed) else str(error)
            text = f"The packages of this environment cannot be installed: {said}"
            self._remember_failure(digest, text)
            log.warning("packages of an environment (%s): %s", digest, said)
            raise
        finally:
            self.counts.layer_build_seconds += self._clock.monotonic() - began
        await self._evict(digest)

    def _remember_failure(self, digest: str, text: str) -> None:
        now = self._clock.monotonic()
        # Those that hold no more are dropped: there may be ever more environments that fail.
        held = {each: failed for each, failed in self._failed.items() if self._holds(failed, now)}
        self._failed = {**held, digest: (now, text)}

    def _holds(self, failed: tuple[float, str], now: float) -> bool:
        return now < failed[0] + self._settings.retry_seconds

    async def _evict(self, newest: str) -> None:
        """Remove those unused longest until the others fit."""
        with os.scandir(self._root.layers) as entries:
            found = sorted(((entry.stat().st_mtime, entry.name) for entry in entries), reverse=True)
        kept = 0
        for _, name in found:
            path = self._root.layers / name
            kept += await _size(path)
            if kept > self._settings.keep_bytes and name != newest and name not in self._used:
                self._root.discard(path)
                self.counts.layers_evicted += 1


async def _size(path: Path) -> int:
    try:
        _, output = await run_program(["du", "-sxB1", "--", str(path)], seconds=_COUNT_SECONDS)
    except TimeoutError:
        return 0
    size = output.strip().rpartition("\n")[2].partition("\t")[0]
    return int(size) if size.isdecimal() else 0
