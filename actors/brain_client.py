"""The replicas of every brain, for a harness or a gateway: a line of waiting requests for each brain (law 7).

Requests wait in line for a free place (``agents.brains.fair_queue``), also while there is no replica at all:
one that is lost, drains or is replaced costs its requests a moment, not a failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

from actors.brain_faults import Fault, FaultFinder
from actors.brain_pool import BrainPool
from actors.fleet_client import ask_fleet
from actors.link_server import Endpoint
from agents.brains.port import BrainFailure, BrainRequest, Standing
from agents.brains.registry import registry_of
from agents.config import Settings
from agents.errors import Unavailable
from agents.telemetry.metrics import all_brains

logger = logging.getLogger(__name__)

_TABLE_SECONDS = 10.0
_TABLE_AGE_SECONDS = 5.0
_SEARCH_SECONDS = 0.25
_FAULTS_SECONDS = 15.0


class BrainClient:
    """BrainPools and TokenCounters over links; one look-up task keeps the tables of all."""

    def __init__(self, settings: Settings) -> None:
        """Raises InvalidSettings."""
        self._missed = asyncio.Event()
        self._pools = {
            brain.id: BrainPool(brain, settings.brain, self._missed.set) for brain in registry_of(settings).brains
        }
        self._faults = FaultFinder(self._ask_for_faults)
        self._looking: asyncio.Task[None] | None = None

    @property
    def figures(self) -> dict[str, int]:
        """Replicas that can be asked, and requests that have a place and that wait for one; of all brains."""
        return all_brains(self.figures_by_brain)

    @property
    def figures_by_brain(self) -> dict[str, dict[str, int]]:
        """The same of each brain, by id, and how its contexts travelled (``actors.brain_context``)."""
        return {brain: pool.standing.figures | pool.context_figures for brain, pool in self._pools.items()}

    @property
    def lacking(self) -> list[str]:
        """Ids of the brains without any replica for which requests wait; not of one that is only asleep."""
        return [brain for brain, pool in self._pools.items() if pool.lacks and not pool.wanted]

    def start(self) -> None:
        """Begin to look for replicas, so that the first request finds them; needs a running event loop."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_for_replicas())

    def think(self, brain: str, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        """See BrainPools.think; a brain that is not configured fails the request."""
        self.start()
        pool = self._pools.get(brain)
        return _refuse(brain) if pool is None else pool.think(request)

    async def count_tokens(self, brain: str, request: BrainRequest) -> int:
        """See TokenCounters.count_tokens."""
        pool = self._pools.get(brain)
        if pool is None:
            raise _unknown(brain)
        return await pool.count_tokens(request)

    def standing(self, brain: str) -> Standing:
        """See BrainPools.standing; a brain that is not configured has nothing."""
        pool = self._pools.get(brain)
        return Standing(0, 0, 0, 0) if pool is None else pool.standing

    async def _look_for_replicas(self) -> None:
        """Learn of replicas that come: every few seconds, at once when one is lost, often while requests lack one."""
        pools = self._pools
        while True:
            self._missed.clear()
            try:
                wanted = [brain for brain, pool in pools.items() if pool.wanted]
                table: dict[str, dict[str, Endpoint]] = await ask_fleet("brains", wanted, timeout=_TABLE_SECONDS)
            except Unavailable as error:
                # The replicas already known serve on while the fleet restarts.
                logger.warning("no news of brain replicas: %s", error.message)
                table = {}
            for brain, pool in pools.items():
                pool.learn(table.get(brain, {}))
                pool.tell_waiting()
            await asyncio.sleep(_SEARCH_SECONDS)
            lacking = [brain for brain, pool in pools.items() if pool.lacks]
            self._faults.ask(lacking)
            if not lacking:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TABLE_AGE_SECONDS):
                        await self._missed.wait()

    async def _ask_for_faults(self, brains: Sequence[str]) -> None:
        faults: dict[str, Fault] = await ask_fleet("brain_faults", brains, timeout=_FAULTS_SECONDS)
        for brain, pool in self._pools.items():
            if pool.lacks:
                pool.learn_fault(faults.get(brain))

    async def close(self) -> None:
        """Hang up."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._faults.close()
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))


async def _refuse(brain: str) -> AsyncGenerator[dict[str, Any], None]:
    raise _unknown(brain)
    yield {}


def _unknown(brain: str) -> BrainFailure:
    return BrainFailure("request_failed", f"there is no brain {brain!r}", transient=False)
