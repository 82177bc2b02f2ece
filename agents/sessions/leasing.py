"""Keeping partitions: join, claim, renew, hand over, and saying at once which were lost (law 3).

A keeper renews every third of the leases' time to live and then looks at the table: below its share it
claims what is free, above it gives partitions away at the end of their turns (:mod:`agents.sessions.balance`
decides how many). Appends carry the epoch, so working on with a lease that may have expired is safe:
until somebody else has claimed the partition, it is good.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol

from agents.clock import Clock, within
from agents.config import HarnessSettings
from agents.errors import Fenced, HecatonError
from agents.sessions.balance import plan
from agents.sessions.log import Lease, Leases, LeaseTable

logger = logging.getLogger(__name__)

_BEATS_PER_TTL = 3
_HURRY = 4
"""A member that waits for its share looks so many times more often: a partition is without owner for a moment only."""


class PartitionWork(Protocol):
    """What goes on in the partitions, as their keeper sees it."""

    def turns(self, partition: int) -> int:
        """Count the turns under way."""
        ...

    def quiet(self, partition: int) -> bool:
        """Whether neither a turn nor a commit is under way."""
        ...

    async def settled(self, partition: int) -> None:
        """Return when what is under way now has ended (something else may have begun)."""
        ...

    def drain(self, partition: int) -> None:
        """Start no further step of any turn in the partition."""
        ...

    def drop(self, partitions: Collection[int]) -> None:
        """Abandon and forget everything of *partitions* at once, and send their watchers away."""
        ...


class PartitionKeeper:
    """Holds the leases of one member while it lives."""

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        name: str,
        work: PartitionWork,
        settings: HarnessSettings,
        *,
        on_gained: Callable[[Sequence[int]], None],
        on_replaced: Callable[[], None],
        sides: bool = False,
    ) -> None:
        """*on_gained* hears of partitions that were claimed, *on_replaced* that a later process has the name.

        With *sides* a standby monolith and the parts each have partitions of theirs.
        """
        self._leases = leases
        self._clock = clock
        self._name = name
        self._work = work
        self._settings = settings
        self._sides = sides
        self._ttl = settings.lease_ttl_seconds
        self._on_gained = on_gained
        self._on_replaced = on_replaced
        self._beating: asyncio.Task[None] | None = None
        self._handing: dict[int, asyncio.Task[None]] = {}
        self._dropped: set[int] = set()
        """Given up here, not yet given back in the store."""
        self._moving = asyncio.Lock()
        """Reading the table, claiming and giving back exclude each other: what is given back must not be claimed."""
        self._excess = 0
        self._missing = 0
        self._leaving = False
        self._ended = False
        self.held: dict[int, Lease] = {}
        self.generation = 0
        self.takeovers = 0
        self.inherited = 0
        """Of the partitions that were claimed, those that had an owner before."""
        self.handovers = 0

    async def start(self) -> None:
        """Join and claim: what an earlier process of this name held at once, the rest of the share as it gets free.

        Raises Unavailable.
        """
        self.generation = await self._leases.join(self._name, ttl=self._ttl)
        await self._balance()
        self._beating = asyncio.create_task(self._beat(), name=f"beat of {self._name}")

    def lease(self, partition: int) -> Lease:
        """Return the lease of *partition*. Raises Fenced when it is not held."""
        try:
            return self.held[partition]
        except KeyError:
            raise Fenced(f"{self._name} does not own partition {partition}") from None

    def lose(self, lease: Lease) -> None:
        """Take note that the store has refused *lease*: its partition has another owner."""
        if self.held.get(lease.partition) == lease:
            self._lost({lease.partition})

    async def stop(self) -> None:
        """Give everything back, each partition as soon as its turns have reached the end of a step; then leave."""
        self._leaving = True
        for handing in self._handing.values():
            handing.cancel()
        await asyncio.gather(*self._handing.values(), return_exceptions=True)
        async with self._moving:
            await self._guarded(self._renew())  # from now on the others count without this member
        for partition in self.held:
            self._work.drain(partition)
        await asyncio.gather(*(self._give_up(partition) for partition in tuple(self.held)))
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        await self._guarded(self._leases.leave(self._name, self.generation))

    # -- the beat --------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while not self._ended:
            pause = self._ttl / _BEATS_PER_TTL / (_HURRY if self._missing else 1)
            await self._clock.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311 - spreads members, hides nothing
            await self._guarded(self._renew_and_balance())

    async def _renew_and_balance(self) -> None:
        async with asyncio.timeout(self._ttl):
            await self._renew()
            await self._balance()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Do *work* on the leases; what fails for now is done again at the next beat."""
        try:
            await work
        except Fenced as error:
            self._replaced(error)
        except (HecatonError, TimeoutError) as error:
            logger.warning("%s could not keep its partitions: %s: %s", self._name, type(error).__name__, error)

    async def _renew(self) -> None:
        staying = not self._leaving
        renewed = await self._leases.renew(self._name, self.generation, ttl=self._ttl, staying=staying)
        kept = {lease.partition: lease for lease in renewed}
        if lost := {partition for partition, lease in self.held.items() if kept.get(partition) != lease}:
            self._lost(lost)

    async def _balance(self) -> None:
        await self._give_back()
        if self._leaving:
            return
        async with self._moving:
            table = await self._leases.table()
            # What is on its way out is neither mine nor free.
            owners = {**table.owners, **dict.fromkeys(self._dropped, "")}
            seen = LeaseTable(owners, table.members)
            due = plan(seen, self._name, self.held, self._settings.partitions, sides=self._sides)
            claimed = await self._claim(due.claim)
        self._excess, self._missing = due.excess, due.missing + len(due.claim) - len(claimed)
        if (more := self._excess - len(self._handing)) > 0:
            mine = self.held.keys() - self._handing.keys()
            for partition in sorted(mine, key=lambda each: (each not in due.foreign, self._work.turns(each)))[:more]:
                self._handing[partition] = asyncio.create_task(self._hand_over(partition))
        if claimed:
            self._on_gained(claimed)

    async def _claim(self, partitions: Sequence[int]) -> list[int]:
        if not partitions:
            return []
        leases = await self._leases.claim(self._name, self.generation, partitions, ttl=self._ttl)
        self.held.update((lease.partition, lease) for lease in leases)
        self.takeovers += len(leases)
        self.inherited += sum(lease.epoch > 1 for lease in leases)
        return [lease.partition for lease in leases]

    # -- giving up -------------------------------------------------------------------------------

    async def _hand_over(self, partition: int) -> None:
        """Wait for the end of the partition's turns; past the patience for that, for the end of their steps."""
        try:
            await self._quiet(partition, self._settings.handover_seconds)
            if partition not in self.held or len(self._handing) > self._excess:
                return  # lost meanwhile, or the member that it was for has gone
            self._work.drain(partition)
            await self._give_up(partition)
        finally:
            del self._handing[partition]

    async def _give_up(self, partition: int) -> None:
        await self._quiet(partition, self._settings.drain_seconds)
        if partition not in self.held:
            return
        # Nothing may be awaited between the last look at the turns and the drop.
        del self.held[partition]
        self._work.drop({partition})
        self._dropped.add(partition)
        self.handovers += 1
        await self._guarded(self._give_back())

    async def _quiet(self, partition: int, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while not self._work.quiet(partition) and (left := end - self._clock.monotonic()) > 0:
            await within(self._clock, left, self._work.settled(partition))

    async def _give_back(self) -> None:
        async with self._moving:
            if dropped := sorted(self._dropped):
                await self._leases.release(self._name, self.generation, dropped)
                self._dropped.difference_update(dropped)

    def _lost(self, partitions: Collection[int]) -> None:
        logger.warning("%s lost partitions %s", self._name, sorted(partitions))
        for partition in partitions:
            del self.held[partition]
        self._work.drop(partitions)

    def _replaced(self, error: Fenced) -> None:
        """Stop whatever there is: another process has this name now, and all that belongs to it."""
        if self._ended:
            return
        self._ended = True
        logger.error("%s has been replaced: %s", self._name, error)
        self._lost(set(self.held))
        self._on_replaced()
