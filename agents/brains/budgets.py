"""Spend ceilings: a brain whose answers of the last hour cost as much as they may is asked no more.

What was spent, the meter knows, for all processes; each looks every few seconds, never while a request waits unless
it has not looked for long. Between two looks a process counts what it has under way itself, at an estimate. So spending
can exceed a ceiling by what *other* processes have under way, and by what answers under way cost beyond their estimate;
both end with the requests that are under way when the ceiling is reached.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agents.brains.ceilings import AnswersCeiling
from agents.brains.policy import TokenPrices, expected_cost, task_of
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.registry import RegisteredBrain
from agents.clock import Clock
from agents.economics.meter import Meter, minute_of
from agents.economics.spending import WINDOW_MINUTES, SpendingWindow
from agents.errors import Unavailable

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_OLD_SECONDS = 10.0
"""A request waits for news when there was none for so long."""
_PATIENCE_SECONDS = 5.0
_METERED_SECONDS = 2.0
"""So long after its end a request is in the meter: its commit, and the group it is written with."""
_LATE_MINUTES = 2
"""Rows may still come for the minutes just past; those before were read for good."""
_SOON_SECONDS = 5.0


class OverBudget(BrainFailure):
    """A brain's ceiling holds it back; ``retry_after`` says when there is room again."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__("overloaded", message, transient=True, retry_after=retry_after)


@dataclass(eq=False, slots=True)
class _Reservation:
    """What a request under way is expected to cost; ``ended`` is when it was no longer (monotonic)."""

    brain: str
    micro_usd: int
    ended: float | None = None


@dataclass(slots=True)
class _Known:
    """What was spent, and when that was asked last (monotonic)."""

    spent: SpendingWindow = field(default_factory=SpendingWindow)
    asked: float | None = None
    complete_to: int | None = None
    """The last minute that was read; None when the whole window must be."""


class Budgets:
    """The ceilings of all brains, as one process holds to them."""

    def __init__(
        self, meter: Meter, prices: TokenPrices, clock: Clock, *, together: AnswersCeiling | None = None
    ) -> None:
        """*together* bounds the brains that it names beside the ceilings of their own."""
        self._meter = meter
        self._prices = prices
        self._clock = clock
        self._together = together
        self._known = _Known()
        self._reservations: set[_Reservation] = set()
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def reserved(self, brain: RegisteredBrain, request: BrainRequest) -> AsyncGenerator[None]:
        """Hold what *request* is expected to cost. Raises OverBudget."""
        own, together = brain.definition.answers_ceiling, self._shared(brain)
        if own is None and together is None:
            yield
            return
        await self._be_informed()
        cost = expected_cost(self._prices, brain, task_of(request))
        if own is not None:
            self._check([brain.name], own, cost, f"{brain.name} is over its budget")
        if together is not None and cost:
            self._check(together.names, together.micro_usd, cost, "all brains together are over their budget")
        reservation = _Reservation(brain.name, cost)
        self._reservations.add(reservation)
        try:
            yield
        finally:
            # It counts on until the meter has it.
            reservation.ended = self._clock.monotonic()

    async def spent(self) -> Mapping[str, int]:
        """Return micro-USD of the last hour by the brain's name, those with a ceiling or not. Raises OverBudget."""
        await self._be_informed()
        return self._known.spent.totals(minute_of(self._clock.now()))

    def _shared(self, brain: RegisteredBrain) -> AnswersCeiling | None:
        """Return the ceiling over all brains, unless *brain* is paid by the hour, or there is none."""
        together = self._together
        shares = together is not None and brain.name in together.names and not brain.definition.replica_usd_per_hour
        return together if shares else None

    def _check(self, names: Collection[str], ceiling: int, cost: int, fault: str) -> None:
        reserved = sum(each.micro_usd for each in self._reservations if each.brain in names)
        minute = minute_of(self._clock.now())
        spent = self._known.spent.total(names, minute)
        if spent + reserved + cost <= ceiling:
            return
        minutes = self._known.spent.minutes_until(names, minute, ceiling - cost)
        told = f"{_usd(spent)} of {_usd(ceiling)} USD per hour are spent, {_usd(reserved)} more are under way"
        raise OverBudget(f"{fault}: {told}", retry_after=minutes * 60.0 or _SOON_SECONDS)

    async def _be_informed(self) -> None:
        """Look when the last look is old; wait for it only when that is very old."""
        age = self._age()
        if age >= _LOOK_SECONDS and self._looking is None:
            self._looking = asyncio.create_task(self._look())
        if age >= _OLD_SECONDS and self._looking is not None:
            await asyncio.wait({self._looking}, timeout=_PATIENCE_SECONDS)
        if self._known.asked is None:
            raise OverBudget("what was spent is not known yet", retry_after=_SOON_SECONDS)

    def _age(self) -> float:
        asked = self._known.asked
        return _OLD_SECONDS if asked is None else self._clock.monotonic() - asked

    async def _look(self) -> None:
        known, started = self._known, self._clock.monotonic()
        minute = minute_of(self._clock.now())
        oldest = minute - WINDOW_MINUTES
        since = oldest if known.complete_to is None else max(oldest, known.complete_to - _LATE_MINUTES)
        try:
            rows = await self._meter.spending(since)
        except Unavailable as error:
            # While the store was away rows may have been held back for long, also those of others.
            known.complete_to = None
            logger.warning("what was spent is not known: %s", error.message)
            return
        finally:
            self._looking = None
        known.spent.learn(rows, since)
        known.asked, known.complete_to = started, minute
        self._reservations = {each for each in self._reservations if not _is_metered(each, started)}


def _is_metered(reservation: _Reservation, looked: float) -> bool:
    return reservation.ended is not None and looked - reservation.ended >= _METERED_SECONDS


def _usd(micro_usd: int) -> str:
    return f"{micro_usd / 1_000_000:.2f}"
