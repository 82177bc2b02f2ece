"""One rule shares places between callers: nobody beyond the bound, everybody up to a share, a reserve for the rest."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agents.shares import Shares

STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-3, 3)), max_size=120)


@given(st.integers(1, 40), st.sampled_from([0.1, 0.3, 0.5, 1.0]), STEPS)
def test_the_rule_holds_whatever_happens(most: int, share: float, steps: list[tuple[str, int]]) -> None:
    shares, held = Shares(most, share), Counter[str]()
    right, reserve = max(int(most * share), 1), max(most // 8, 1) if share < 1 else 0
    for caller, count in steps:
        if count < 0:
            shares.give_back(caller, min(-count, held[caller]))
            held[caller] -= min(-count, held[caller])
            continue
        free = most - held.total()
        refusal = shares.refusal(caller, count)
        assert (refusal == "full") is (count > free)
        if held[caller] + count <= right:
            assert refusal != "beyond share", "a caller within its share gets what is free"
        elif refusal is None:
            assert free - count >= reserve, "a caller beyond its share leaves the reserve alone"
        if refusal is None:
            shares.take(caller, count)
            held[caller] += count
        assert shares.taken == held.total() <= most
        assert all(shares.held(each) == held[each] for each in "abcd")


def fill(shares: Shares, caller: str) -> int:
    while shares.refusal(caller) is None:
        shares.take(caller)
    return shares.held(caller)


def test_one_caller_alone_gets_all_but_the_reserve_and_the_next_finds_that() -> None:
    shares = Shares(64, 0.5)
    assert fill(shares, "greedy") == 56
    assert fill(shares, "other") == 8


def test_what_a_greedy_caller_gives_back_goes_to_the_others_until_they_have_their_share() -> None:
    shares = Shares(64, 0.5)
    fill(shares, "greedy"), fill(shares, "other")
    for _ in range(24):
        shares.give_back("greedy")
        assert shares.refusal("greedy") == "beyond share"
        assert shares.refusal("other") is None
        shares.take("other")
    assert (shares.held("greedy"), shares.held("other")) == (32, 32)


def test_where_there_is_one_caller_only_nothing_is_held_back() -> None:
    shares = Shares(3, 1.0)
    assert fill(shares, "") == 3
    assert shares.refusal("") == "full"


def test_a_caller_within_its_share_may_have_the_only_place() -> None:
    shares = Shares(1, 0.5)
    assert fill(shares, "a") == 1


def test_callers_that_hold_nothing_take_no_memory() -> None:
    shares = Shares(4, 0.5)
    for number in range(1000):
        shares.take(str(number))
        shares.give_back(str(number))
    assert len(shares._held) == 0
