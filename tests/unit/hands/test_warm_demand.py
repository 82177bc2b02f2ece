"""How many warm sandboxes of each kind there are: as many as were wanted lately."""

from __future__ import annotations

from pathlib import Path

from agents.clock import ManualClock
from agents.hands.layer import Layer
from agents.hands.warm_demand import HALF_LIFE_SECONDS, WarmDemand

ONE, TWO = Layer("one", Path("/nowhere")), Layer("two", Path("/nowhere"))


def test_claims_that_find_none_ready_double_the_stock_up_to_its_limit() -> None:
    demand = WarmDemand(2, 7, ManualClock())
    assert demand.sizes() == {None: 2}
    demand.claimed(None, found=True)
    assert demand.sizes() == {None: 2}
    sizes = []
    for _ in range(4):
        demand.claimed(None, found=False)
        sizes.append(demand.sizes()[None])
    assert sizes == [4, 7, 7, 7]


def test_a_stock_that_is_not_used_shrinks_to_what_was_asked_for() -> None:
    clock = ManualClock()
    demand = WarmDemand(1, 8, clock)
    for _ in range(3):
        demand.claimed(None, found=False)
        demand.claimed(ONE, found=False)
    before = demand.sizes()
    assert before[None] + before[ONE] == 8
    clock.advance(HALF_LIFE_SECONDS)
    demand.claimed(ONE, found=True)
    after = demand.sizes()
    assert (after[None], after[ONE]) == (round(before[None] / 2), round(before[ONE] / 2))
    clock.advance(10 * HALF_LIFE_SECONDS)
    assert demand.sizes() == {None: 1}


def test_kinds_share_one_limit() -> None:
    demand = WarmDemand(1, 3, ManualClock())
    for _ in range(5):
        demand.claimed(ONE, found=False)
        demand.claimed(TWO, found=False)
    assert sum(demand.sizes().values()) == 3


def test_who_wants_none_gets_none() -> None:
    demand = WarmDemand(0, 8, ManualClock())
    demand.claimed(None, found=False)
    demand.claimed(ONE, found=False)
    assert sum(demand.sizes().values()) == 0
