"""Sandboxes that run before anybody wants them, per kind of packages; a claimed one is replaced in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agents.clock import Clock
from agents.hands.layer import Layer
from agents.hands.sandbox import Sandbox, SandboxDriver, SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs, SandboxRoot
from agents.hands.warm_demand import WarmDemand

log = logging.getLogger(__name__)

_REFILL_DELAY_SECONDS = 0.02
_REFILL_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A running sandbox on directories of nobody."""

    dirs: SandboxDirs
    sandbox: Sandbox


class WarmStock:
    """The warm sandboxes of one host."""

    def __init__(
        self,
        demand: WarmDemand,
        root: SandboxRoot,
        driver: SandboxDriver,
        clock: Clock,
        fill: Callable[[SandboxDirs], Awaitable[None]],
    ) -> None:
        """*fill* puts into fresh directories what every session starts with."""
        self._demand = demand
        self._root = root
        self._driver = driver
        self._clock = clock
        self._fill = fill
        self._ready: dict[Layer | None, deque[Ready]] = {None: deque()}
        self._refilling: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._ready.values()))

    def take(self, layer: Layer | None = None) -> Ready | None:
        """Hand out a living sandbox with the packages of *layer*; None when there is none."""
        ready = self._living(layer)
        self._demand.claimed(layer, found=ready is not None)
        return ready

    def _living(self, layer: Layer | None) -> Ready | None:
        stock = self._ready.get(layer, ())
        while stock:
            ready = stock.popleft()
            if ready.sandbox.alive:
                return ready
            self.retire(ready)
        return None

    def trim(self) -> None:
        """End those that nobody wants any more, in the background."""
        sizes = self._demand.sizes()
        for layer, stock in list(self._ready.items()):
            while len(stock) > sizes.get(layer, 0):
                self.retire(stock.pop())
            if layer is not None and layer not in sizes:
                del self._ready[layer]

    def refill(self) -> None:
        """Bring the stock up to its size in the background."""
        if self._driver.warmable and not self._closed and (self._refilling is None or self._refilling.done()):
            self._refilling = asyncio.create_task(self._refill())

    def retire(self, ready: Ready) -> None:
        """End a sandbox and remove its directories in the background."""
        task = asyncio.create_task(self._retire(ready))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """End whatever is warm."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.wait({self._refilling})
        for stock in self._ready.values():
            while stock:
                self.retire(stock.popleft())
        await asyncio.gather(*self._retiring)

    async def _retire(self, ready: Ready) -> None:
        try:
            await ready.sandbox.end()
        except TimeoutError:
            log.error("a warm sandbox does not end")
        await self._root.remove(ready.dirs.base)

    async def _refill(self) -> None:
        # Starting a process occupies the loop; the call that emptied the stock goes first.
        await self._clock.sleep(_REFILL_DELAY_SECONDS)
        # Looked at anew each time: what is wanted while this goes on starts no refilling of its own.
        while lacking := self._lacking():
            layer = lacking[0]
            try:
                ready = await self._start(layer)
            except (SandboxUnavailable, OSError) as error:
                log.warning("no warm sandbox: %s", error)
                await self._clock.sleep(_REFILL_RETRY_SECONDS)
            else:
                self._ready.setdefault(layer, deque()).append(ready)

    def _lacking(self) -> list[Layer | None]:
        sizes = self._demand.sizes()
        return [layer for layer, size in sizes.items() if len(self._ready.get(layer, ())) < size]

    async def _start(self, layer: Layer | None) -> Ready:
        dirs = self._root.make_warm()
        try:
            await self._fill(dirs)
            return Ready(dirs, await self._driver.start(dirs, layer))
        except BaseException:
            self._root.discard(dirs.base)
            raise
