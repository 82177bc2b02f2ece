"""Keeping partitions: claim, heartbeat, and saying at once which were lost (law 3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from agents.clock import Clock
from agents.errors import Fenced, HecatonError
from agents.sessions.log import Lease, Leases

logger = logging.getLogger(__name__)

_BEATS_PER_TTL = 3


class LeaseKeeper:
    """Holds the leases of one owner while it lives."""

    def __init__(
        self, leases: Leases, clock: Clock, owner: str, *, ttl: float, on_lost: Callable[[set[int]], None]
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._owner = owner
        self._ttl = ttl
        self._on_lost = on_lost
        self._beating: asyncio.Task[None] | None = None
        self._generation = 0
        self.held: dict[int, Lease] = {}

    async def start(self, partitions: Sequence[int]) -> None:
        """Claim *partitions*, waiting for leases of dead owners to run out; then keep them alive.

        Raises Fenced when another live owner keeps one of them.
        """
        deadline = self._clock.monotonic() + 3 * self._ttl
        missing = set(partitions)
        self._generation = await self._leases.join(self._owner, ttl=self._ttl)
        while missing:
            for lease in await self._leases.claim(self._owner, self._generation, sorted(missing), ttl=self._ttl):
                self.held[lease.partition] = lease
            missing -= self.held.keys()
            if missing and self._clock.monotonic() > deadline:
                raise Fenced(f"{self._owner}: partitions {sorted(missing)} are kept by another owner")
            if missing:
                await self._clock.sleep(self._ttl / _BEATS_PER_TTL)
        self._beating = asyncio.create_task(self._beat())

    def lease(self, partition: int) -> Lease:
        """Return the lease of *partition*. Raises Fenced when it is not held."""
        try:
            return self.held[partition]
        except KeyError:
            raise Fenced(f"{self._owner} does not own partition {partition}") from None

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self._ttl / _BEATS_PER_TTL)
            try:
                async with asyncio.timeout(self._ttl):
                    renewed = await self._leases.renew(self._owner, self._generation, ttl=self._ttl)
                kept = {lease.partition: lease for lease in renewed}
            except (HecatonError, TimeoutError) as error:
                # Appends carry the epoch, so working on with a lease that may have expired is safe.
                logger.warning("%s could not renew its leases: %s", self._owner, error)
                continue
            lost = self.held.keys() - {p for p, lease in kept.items() if self.held.get(p) == lease}
            if lost:
                logger.warning("%s lost partitions %s", self._owner, sorted(lost))
                self.held = {p: lease for p, lease in self.held.items() if p not in lost}
                self._on_lost(set(lost))

    async def stop(self) -> None:
        """Give everything back."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        self.held = {}
        await self._leases.leave(self._owner, self._generation)
