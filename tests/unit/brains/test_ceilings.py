"""The ceiling over all brains: what is left of it for answers, and that it holds them back together.

Bug class this catches: brains that keep to their own ceilings and together spend what nobody meant to.
"""

from __future__ import annotations

from typing import Any

import pytest

from agents.brains.budgets import Budgets, OverBudget
from agents.brains.ceilings import AnswersCeiling, answers_ceiling
from agents.brains.port import BrainRequest
from agents.brains.registry import registry_of
from agents.clock import ManualClock
from agents.config import InvalidSettings, Settings
from agents.economics.meter import MemoryMeter, MeterKind, MeterRow
from agents.economics.price_book import PriceBook
from agents.ids import SessionId

GPU: dict[str, Any] = {
    "engine": "replay",
    "resources": {"num_gpus": 1},
    "price": {"gpu_hour": 2.5},
    "scaling": {"max_replicas": 2, "burst": {"usd_per_hour": 10}},
}
# A request is expected to write a thousand tokens: one USD.
ONE: dict[str, Any] = {"engine": "replay", "price": {"output_mtok": 1000.0}}
TWO = ONE | {"price": {"output_mtok": 1000.0, "ceiling_usd_per_hour": 4}}
FREE = {"engine": "replay"}
BRAINS = {"gpu": GPU, "one": ONE, "two": TWO, "free": FREE}
REQUEST = BrainRequest("s", "m", [])
USD = 1_000_000


def settings(ceiling: float | None, brains: dict[str, Any] = BRAINS, **more: Any) -> Settings:
    return Settings.model_validate({"brain": {"ceiling_usd_per_hour": ceiling}, "brains": brains, **more})


def test_what_replicas_may_cost_in_a_burst_is_set_aside() -> None:
    paid = frozenset({"one", "two", "free"})
    assert answers_ceiling(settings(None)) is None
    assert answers_ceiling(settings(15.5)) == AnswersCeiling(5_500_000, paid)
    both = GPU | {"versions": {"2": {"scaling": {"max_replicas": 1, "burst": {"usd_per_hour": None}}}}}
    assert answers_ceiling(settings(15.5, BRAINS | {"gpu": both})) == AnswersCeiling(3_000_000, paid)
    held = both | {"price": {"gpu_hour": 2.5, "ceiling_usd_per_hour": 11}}
    assert answers_ceiling(settings(15.5, BRAINS | {"gpu": held})) == AnswersCeiling(4_500_000, paid)
    alone = settings(15.5, topology="monolith", monolith={"replicas": 3})
    assert answers_ceiling(alone) == AnswersCeiling(8_000_000, paid)
    beside = settings(15.5, standby={"enabled": True}, monolith={"replicas": 2})
    assert answers_ceiling(beside) == AnswersCeiling(500_000, paid)


@pytest.mark.parametrize(
    ("ceiling", "brains", "told"),
    [
        (9.5, BRAINS, r"9.5 is less than replicas may cost in an hour \(gpu 10\)"),
        (9.5, {}, "declare the brains"),
    ],
)
def test_a_ceiling_that_could_not_be_held_stops_the_start(ceiling: float, brains: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^brain.ceiling_usd_per_hour: .*{told}"):
        registry_of(settings(ceiling, brains))


class Till:
    """The budgets of one process, with 5.5 USD per hour for answers."""

    def __init__(self) -> None:
        chosen, self.clock, self.meter = settings(15.5), ManualClock(), MemoryMeter()
        self.registry = registry_of(chosen)
        self.budgets = Budgets(self.meter, PriceBook.load(), self.clock, together=answers_ceiling(chosen))

    async def spend(self, brain: str, usd: float) -> None:
        kind, at = MeterKind.MODEL_REQUEST, self.clock.now()
        row = MeterRow(brain, SessionId("s"), kind, "m", at, micro_usd=int(usd * USD), brain=f"{brain}@1")
        await self.meter.record([row])

    async def asks(self, brain: str) -> OverBudget | None:
        try:
            async with self.budgets.reserved(self.registry.find(brain), REQUEST):
                return None
        except OverBudget as failure:
            return failure


async def test_answers_of_all_brains_share_what_is_left() -> None:
    till = Till()
    await till.spend("one", 2)
    await till.spend("two", 2.5)
    async with till.budgets.reserved(till.registry.find("one"), REQUEST):
        refused = await till.asks("two")
        assert refused is not None and (refused.kind, refused.transient) == ("overloaded", True)
        told = "all brains together are over their budget: 4.50 of 5.50 USD per hour are spent, 1.00 more are under way"
        assert refused.message == told


async def test_a_brain_keeps_to_its_own_ceiling_too() -> None:
    till = Till()
    await till.spend("two", 3.5)
    refused = await till.asks("two")
    assert refused is not None and refused.message.startswith("two is over its budget: 3.50 of 4.00")
    assert await till.asks("one") is None


async def test_what_costs_nothing_more_is_never_held_back() -> None:
    till = Till()
    await till.spend("one", 100)
    assert [await till.asks(brain) for brain in ("gpu", "free")] == [None, None]
    refused = await till.asks("one")
    assert refused is not None and refused.retry_after == 61 * 60, "the minute that has begun counts for one more"
