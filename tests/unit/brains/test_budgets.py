"""Ceilings of what answers may cost.

Bug class this catches: a brain that goes on spending, or one that is held back for what is no longer spent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.budgets import Budgets, OverBudget
from agents.brains.port import BrainRequest
from agents.brains.registry import RegisteredBrain
from agents.clock import ManualClock
from agents.economics.meter import MemoryMeter, MeterKind, MeterRow, Spending
from agents.economics.price_book import PriceBook
from agents.errors import Unavailable
from agents.ids import SessionId

# A request is expected to write a thousand tokens: one USD.
PRICE = {"output_mtok": 1000.0, "ceiling_usd_per_hour": 10}
BRAIN = RegisteredBrain("dear", BrainDefinition.model_validate({"engine": "replay", "price": PRICE}))
REQUEST = BrainRequest("s", "dear", [])
USD = 1_000_000


class CountingMeter(MemoryMeter):
    """Counts the looks, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[int] = []
        self.away = False

    async def spending(self, since: int) -> Sequence[Spending]:
        self.looks.append(since)
        if self.away:
            raise Unavailable("the database is away")
        return await super().spending(since)


class Till:
    """The budgets of one process, by a clock of their own."""

    def __init__(self, meter: CountingMeter | None = None, clock: ManualClock | None = None) -> None:
        self.meter = meter or CountingMeter()
        self.clock = clock or ManualClock()
        self.budgets = Budgets(self.meter, PriceBook.load(), self.clock)
        self._keys = 0

    async def spend(self, usd: float, *, ago: float = 0, brain: str = "dear@1") -> None:
        self._keys += 1
        at = self.clock.now() - timedelta(seconds=ago)
        row = MeterRow(
            f"k{self._keys}", SessionId("s"), MeterKind.MODEL_REQUEST, "m", at, micro_usd=int(usd * USD), brain=brain
        )
        await self.meter.record([row])

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what is to be done by then be done."""
        self.clock.advance(seconds)
        await self.asks()
        for _ in range(5):
            await asyncio.sleep(0)

    async def asks(self) -> OverBudget | None:
        """Return why a request is refused, if it is; it takes no time."""
        try:
            async with self.budgets.reserved(BRAIN, REQUEST):
                return None
        except OverBudget as failure:
            return failure


@pytest.fixture
def till() -> Till:
    return Till()


async def test_a_brain_without_a_ceiling_is_never_looked_after(till: Till) -> None:
    free = RegisteredBrain("free", BrainDefinition(engine="replay"))
    async with till.budgets.reserved(free, REQUEST):
        assert till.meter.looks == []


async def test_what_the_meter_knows_of_the_last_hour_counts_and_the_first_request_waits_for_it(till: Till) -> None:
    await till.spend(100, ago=3700)
    await till.spend(9, brain="dear@0", ago=30 * 60)
    async with till.budgets.reserved(BRAIN, REQUEST):
        failure = await till.asks()
    assert failure is not None and failure.transient
    assert (failure.kind, failure.retry_after) == ("overloaded", 5)
    told = "dear is over its budget: 9.00 of 10.00 USD per hour are spent, 1.00 more are under way"
    assert failure.message == told
    assert len(till.meter.looks) == 1


async def test_it_says_when_there_is_room_again_and_then_there_is(till: Till) -> None:
    await till.spend(5, ago=40 * 60)
    await till.spend(5, ago=0)
    failure = await till.asks()
    assert failure is not None and failure.retry_after == 21 * 60
    await till.pass_time(21 * 60 - 60)
    assert await till.asks() is not None
    await till.pass_time(60)
    assert await till.asks() is None


async def test_requests_under_way_and_those_the_meter_may_not_have_yet_are_counted(till: Till) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(till.budgets.reserved(BRAIN, REQUEST))
        await till.pass_time(1.9)
        assert await till.asks() is not None
    await till.pass_time(0.2)
    assert len(till.meter.looks) == 2
    assert await till.asks() is not None, "they had ended just before that look"
    await till.pass_time(2.1)
    assert await till.asks() is None


async def test_a_look_is_made_every_two_seconds_at_most_and_reads_only_what_may_be_new(till: Till) -> None:
    for _ in range(5):
        await till.asks()
    await till.pass_time(1.9)
    assert len(till.meter.looks) == 1
    await till.pass_time(0.1)
    whole, later = till.meter.looks
    assert later - whole == 58


async def test_what_another_process_spent_is_known_after_a_look() -> None:
    till = Till()
    other = Till(till.meter, till.clock)
    assert await till.asks() is None
    await till.spend(10)
    assert await till.asks() is None, "known to be spent only after the next look"
    assert await other.asks() is not None
    await till.pass_time(4)
    assert await till.asks() is not None


async def test_while_the_store_is_away_the_last_news_counts_and_then_the_whole_hour_is_read_again(till: Till) -> None:
    till.meter.away = True
    failure = await till.asks()
    assert failure is not None and failure.message == "what was spent is not known yet"
    till.meter.away = False
    assert await till.asks() is None
    till.meter.away = True
    await till.pass_time(60)
    assert await till.asks() is None
    await till.spend(10, ago=600)  # held back while the store was away
    till.meter.away = False
    await till.pass_time(2)
    assert await till.asks() is not None
