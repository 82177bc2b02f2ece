"""Harnesses are complete and spread over the nodes again after some were lost.

Bug class this catches: all harnesses left on one node, which then takes all of them with it; a harness that is missing
for good; moves that go on for ever, or under somebody who is replacing harnesses at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import harness_keeper
from actors.harness_keeper import HarnessKeeper, emptiest, to_move
from agents.config import Settings

NODES = ["a", "b", "c"]
PLACES = st.dictionaries(st.integers(0, 20), st.sampled_from([*NODES, "gpu"]), min_size=1)


@given(PLACES)
def test_moves_come_to_an_end_with_harnesses_spread_evenly(places: dict[int, str]) -> None:
    moves = 0
    while (index := to_move(places, NODES)) is not None:
        del places[index]
        places[index] = emptiest(places, NODES)
        moves += 1
        assert moves <= 21
    counts = [list(places.values()).count(node) for node in NODES]
    assert max(counts) - min(counts) <= 1
    assert list(places.values()).count("gpu") <= min(counts) + 1


class World:
    """Ray, as far as the keeper sees it."""

    def __init__(self) -> None:
        self.nodes = ["a", "b"]
        self.places: dict[int, str] = {}
        self.wanted: set[int] = set()
        self.held = False
        self.silent: set[int] = set()
        self.did: list[str] = []

    def end(self, handle: int, name: str, *, patience: float) -> bool:
        assert patience > 0, "its sessions are handed over first"
        self.did.append(f"end {name}")
        del self.places[handle]
        return True

    def start(self, settings: Settings, index: int, *, node: str) -> None:
        self.did.append(f"start {index} on {node}")
        self.places[index] = node


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    replaced: dict[str, Any] = {
        "nodes_for_us": lambda: made.nodes,
        "harnesses": lambda: {index: index for index in made.places},
        "wanted_harnesses": lambda: made.wanted,
        "are_held": lambda: made.held,
        "_node_of": lambda handle: None if handle in made.silent else made.places[handle],
        "end_actor": made.end,
        "ensure_harness": made.start,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(harness_keeper, name, value)
    yield made


def test_a_node_that_comes_back_gets_its_share_one_harness_at_a_time(world: World) -> None:
    world.wanted, world.nodes = {0, 1, 2, 3}, ["a"]
    world.places = dict.fromkeys(range(4), "a")
    keeper = HarnessKeeper(Settings())
    keeper.look()
    keeper.look()
    world.nodes = ["a", "b"]
    keeper.look()
    assert world.did == [], "a node counts from the second look on"
    keeper.look()
    assert world.did == ["end harness-3", "start 3 on b"]
    keeper.look()
    keeper.look()
    assert world.places == {0: "a", 1: "a", 2: "b", 3: "b"}


def test_a_missing_harness_is_started_where_there_are_fewest(world: World) -> None:
    world.wanted, world.places = {0, 1, 2}, {0: "a", 2: "b"}
    keeper = HarnessKeeper(Settings())
    keeper.look()
    keeper.look()
    assert world.did == ["start 1 on a"]


def test_nothing_is_touched_while_somebody_replaces_harnesses(world: World) -> None:
    world.held, world.wanted, world.places = True, {0, 1, 2}, {0: "a", 1: "a"}
    keeper = HarnessKeeper(Settings())
    for _ in range(3):
        keeper.look()
    assert world.did == []


def test_no_harness_moves_while_another_does_not_answer(world: World) -> None:
    world.wanted, world.places, world.silent = {0, 1, 2}, {0: "a", 1: "a", 2: "a"}, {1}
    keeper = HarnessKeeper(Settings())
    for _ in range(3):
        keeper.look()
    assert world.did == []


def test_what_is_taken_hold_of_in_the_middle_of_a_move_is_left_to_whoever_holds_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.wanted, world.places = {0, 1, 2}, {0: "a", 1: "a", 2: "a"}

    def end(handle: int, name: str, *, patience: float) -> bool:
        world.held = True
        return world.end(handle, name, patience=patience)

    monkeypatch.setattr(harness_keeper, "end_actor", end)
    keeper = HarnessKeeper(Settings())
    keeper.look()
    keeper.look()
    assert world.did == ["end harness-2"]


def test_a_single_harness_has_nobody_to_hand_over_to_and_stays(world: World) -> None:
    world.wanted, world.places, world.nodes = {0}, {0: "gpu"}, ["a"]
    keeper = HarnessKeeper(Settings())
    for _ in range(3):
        keeper.look()
    assert world.did == []
