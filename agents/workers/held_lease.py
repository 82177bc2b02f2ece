"""A worker's side of a lease: beating until it is over, and knowing why (spec D.2, D.3)."""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto
from typing import TYPE_CHECKING

from anthropic import APIStatusError

from agents.clock import Clock, SystemClock
from agents.workers.rules import NO_HEARTBEAT
from agents.workers.transience import PASSING, is_final, words

if TYPE_CHECKING:
    from anthropic.resources.beta.environments.work import AsyncWork
    from anthropic.types.beta.environments import BetaSelfHostedWork

logger = logging.getLogger(__name__)

_ASSUMED_TTL_SECONDS = 90.0
"""Before the server has said anything: the SDK's worker assumes the same."""
_LONGEST_INTERVAL_SECONDS = 30.0


class LeaseEnd(Enum):
    """Why a lease is over."""

    LOST = auto()
    """It is another worker's, or the queue's: nothing of the item may be touched any more."""
    STOP = auto()
    """The server wants the item stopped."""


class HeldLease:
    """The lease of one item."""

    def __init__(self, work: AsyncWork, item: BetaSelfHostedWork, clock: Clock | None = None) -> None:
        self._work = work
        self._item = item
        self._clock = clock or SystemClock()
        self.ttl_seconds = _ASSUMED_TTL_SECONDS

    async def keep(self) -> LeaseEnd:
        """Beat at half the lease's time; returns when there is nothing left to keep."""
        now = self._clock.monotonic
        last, interval, until = NO_HEARTBEAT, 5.0, now() + self.ttl_seconds
        while True:
            try:
                async with asyncio.timeout(max(interval, 1.0)):
                    beat = await self._work.heartbeat(
                        self._item.id, environment_id=self._item.environment_id, expected_last_heartbeat=last
                    )
            except (*PASSING, TimeoutError) as error:
                if isinstance(error, APIStatusError) and is_final(error):
                    logger.warning("the lease of %s is lost: %s", self._item.id, words(error))
                    return LeaseEnd.LOST
                if now() >= until:
                    logger.warning("the lease of %s is taken for lost: %s", self._item.id, words(error))
                    return LeaseEnd.LOST
                logger.info("a heartbeat of %s failed: %s", self._item.id, words(error))
                await self._clock.sleep(min(interval, 1.0))
                continue
            last = beat.last_heartbeat
            if beat.state in ("stopping", "stopped") or not beat.lease_extended:
                return LeaseEnd.STOP
            self.ttl_seconds = max(float(beat.ttl_seconds), 1.0)
            until = now() + self.ttl_seconds
            interval = max(1.0, min(self.ttl_seconds / 2, _LONGEST_INTERVAL_SECONDS))
            await self._clock.sleep(interval)
