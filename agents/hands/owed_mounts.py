"""Keeping what results have promised: changes of mounts whose sources could not be reached in time.

A session that is called tries again by itself. Here it is done for those that nobody calls any more, in whatever
process they got the promise; until it is kept their directories stay.
"""

from __future__ import annotations

import asyncio
import logging
import random

from agents.clock import Clock
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_pool import SandboxPool

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 60.0
_AT_ONCE = 8
"""Sessions of one sweep, drawn by chance: of those whose sources stay away none keeps others from their turn."""


class OwedMounts:
    """Tries again for the sessions of one host."""

    def __init__(self, pool: SandboxPool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def sweep_forever(self) -> None:
        """Try again and again."""
        while True:
            await self.sweep()
            await self._clock.sleep(_SWEEP_SECONDS)

    async def sweep(self) -> bool:
        """Try for a few sessions; returns whether it went well for any."""
        owing = self._pool.owing()
        drawn = random.sample(owing, min(len(owing), _AT_ONCE))
        return any(await asyncio.gather(*map(self._brought, drawn)))

    async def bring_all(self) -> None:
        """Try for all, as long as it goes well for any."""
        while await self.sweep():
            pass

    async def _brought(self, session_id: str) -> bool:
        try:
            await self._pool.bring_owed_of(session_id)
        except SandboxUnavailable as error:
            log.warning("session %s waits for its mounts to be kept: %s", session_id, error.message)
            return False
        return True
