"""Looking for the replicas of several applications: one task keeps the tables of all their pools."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from actors.link_server import Endpoint
from actors.replica_faults import Fault, FaultFinder
from agents.errors import Unavailable

logger = logging.getLogger(__name__)

_TABLE_AGE_SECONDS = 5.0
_SEARCH_SECONDS = 0.25

Table = Mapping[str, Mapping[str, Endpoint]]


class Pool(Protocol):
    """The replicas of one application."""

    @property
    def lacks(self) -> bool:
        """Whether requests wait while there is no replica."""
        ...

    @property
    def wanted(self) -> bool:
        """Whether Serve must be asked for a replica."""
        ...

    def learn(self, table: Mapping[str, Endpoint]) -> None: ...

    def learn_fault(self, fault: Fault | None) -> None: ...

    def tell_waiting(self) -> None: ...


class ReplicaLookup:
    """Learns of replicas that come: every few seconds, at once when one is lost, often while requests lack one."""

    def __init__(
        self,
        pools: Callable[[], Mapping[str, Pool]],
        ask: Callable[[Sequence[str]], Awaitable[Table]],
        ask_faults: Callable[[Sequence[str]], Awaitable[Mapping[str, Fault]]],
    ) -> None:
        """*ask* returns where replicas are, told which pools want one; *ask_faults* why some have none. Both may raise
        Unavailable."""
        self._pools = pools
        self._ask = ask
        self._ask_faults = ask_faults
        self._faults = FaultFinder(self._learn_faults)
        self._missed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; needs a running event loop."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def missed(self) -> None:
        """Look at once."""
        self._missed.set()

    async def _look(self) -> None:
        while True:
            self._missed.clear()
            try:
                table = await self._ask([name for name, pool in self._pools().items() if pool.wanted])
            except Unavailable as error:
                # The replicas already known serve on while the fleet restarts.
                logger.warning("no news of replicas: %s", error.message)
                table = {}
            for name, pool in self._pools().items():
                pool.learn(table.get(name, {}))
                pool.tell_waiting()
            await asyncio.sleep(_SEARCH_SECONDS)
            lacking = [name for name, pool in self._pools().items() if pool.lacks]
            self._faults.ask(lacking)
            if not lacking:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TABLE_AGE_SECONDS):
                        await self._missed.wait()

    async def _learn_faults(self, names: Sequence[str]) -> None:
        faults = await self._ask_faults(names)
        for name, pool in self._pools().items():
            if pool.lacks:
                pool.learn_fault(faults.get(name))

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._faults.close()
