"""Places to think: bounded, and no key makes another one wait long (law 9; ours)."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.brains.fair_queue import FairLine, FairQueue
from agents.brains.port import BrainFailure

SERVICE = 10
"""How long every request takes in the simulation; its clock counts in whole units."""


@dataclass
class Simulation:
    """Places served by a :class:`FairLine` on a clock that jumps from event to event."""

    places: int
    now: int = 0
    line: FairLine[tuple[str, int]] = field(default_factory=FairLine)
    held: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    ends: list[tuple[int, str]] = field(default_factory=list)
    granted: list[tuple[str, int, int]] = field(default_factory=list)
    """Principal, when it asked, when it got its place; in the order of granting."""

    def ask(self, principal: str, number: int = 0) -> None:
        self.line.add(principal, (f"{principal}{number}", self.now))
        self.waiting[principal] += 1
        self.deal()

    def deal(self) -> None:
        while len(self.line) and self.held.total() < self.places:
            principal, (_, asked) = self.line.next(self.held)
            assert self.held[principal] == min(self.held[each] for each in +self.waiting)
            self.waiting[principal] -= 1
            self.held[principal] += 1
            heapq.heappush(self.ends, (self.now + SERVICE, principal))
            self.granted.append((principal, asked, self.now))

    def run(self, until: int | None = None) -> None:
        while self.ends and (until is None or self.ends[0][0] <= until):
            self.now, principal = heapq.heappop(self.ends)
            self.held[principal] -= 1
            self.deal()
        self.now = max(self.now, until or 0)

    def waits(self, principal: str) -> list[int]:
        return [got - asked for each, asked, got in self.granted if each == principal]


@pytest.mark.parametrize("places", [1, 4, 64])
@pytest.mark.parametrize("arrives", [1, 5, 9, 123])
def test_a_thousand_sessions_of_one_key_delay_a_single_one_of_another_by_one_service_at_most(
    places: int, arrives: int
) -> None:
    world = Simulation(places)
    for number in range(1000):
        world.ask("greedy", number)
    world.run(until=arrives)
    world.ask("modest")
    world.run()
    [waited] = world.waits("modest")
    assert waited <= SERVICE
    assert len(world.waits("greedy")) == 1000, "nobody is forgotten"


@given(st.integers(1, 8), st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 15)), max_size=80))
def test_a_place_goes_to_whoever_holds_the_fewest(places: int, arrivals: list[tuple[str, int]]) -> None:
    world = Simulation(places)
    for number, (principal, pause) in enumerate(arrivals):
        world.run(until=world.now + pause)
        world.ask(principal, number)
        assert world.held.total() == places or not len(world.line), "no place stays empty while somebody waits"
    world.run()
    assert len(world.granted) == len(arrivals)


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_within_a_key_it_is_first_come_first_served(order: list[str]) -> None:
    line: FairLine[int] = FairLine()
    for number, principal in enumerate(order):
        line.add(principal, number)
    held: Counter[str] = Counter()
    got: dict[str, list[int]] = {}
    while len(line):
        principal, number = line.next(held)
        held[principal] += 1
        got.setdefault(principal, []).append(number)
    assert all(numbers == sorted(numbers) for numbers in got.values())
    assert sum(map(len, got.values())) == len(order)


def test_equals_take_turns() -> None:
    line: FairLine[int] = FairLine()
    for number in range(9):
        line.add("abc"[number // 3], number)
    held: Counter[str] = Counter()
    assert "".join(line.next(held)[0] for _ in range(9)) == "abcabcabc"


def test_who_holds_fewer_comes_first_also_when_it_was_served_later() -> None:
    line: FairLine[int] = FairLine()
    line.note_served("slow")
    line.note_served("quick")
    line.add("slow", 1)
    line.add("quick", 2)
    assert line.next(Counter(slow=3, quick=1)) == ("quick", 2)


def test_those_who_left_leave_nothing_behind() -> None:
    line: FairLine[int] = FairLine()
    for number in range(1000):
        line.add(f"key{number % 7}", number)
    for number in range(1000):
        line.discard(f"key{number % 7}", number)
        line.discard("stranger", number)
    assert len(line) == 0 and not line._lines
    with pytest.raises(KeyError):
        line.next(Counter())


def queue(places: int = 1, *, most_waiting: int = 100, patience: float = 5.0) -> FairQueue:
    return FairQueue(places, most_waiting=most_waiting, patience=patience)


class Holder:
    """A task that holds a place until it is told to go."""

    def __init__(self, queue: FairQueue, principal: str = "a") -> None:
        self.holds = asyncio.Event()
        self._go = asyncio.Event()
        self.task = asyncio.create_task(self._hold(queue, principal))

    async def _hold(self, queue: FairQueue, principal: str) -> None:
        async with queue.place(principal):
            self.holds.set()
            await self._go.wait()

    async def end(self) -> None:
        self._go.set()
        await self.task

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_place_is_handed_on_when_it_is_given_back() -> None:
    places = queue()
    first, second = Holder(places), Holder(places)
    await settle()
    assert first.holds.is_set() and not second.holds.is_set()
    assert (places.taken, places.waiting) == (1, 1)
    await first.end()
    await settle()
    assert second.holds.is_set()
    await second.end()
    assert (places.taken, places.waiting) == (0, 0)


async def test_the_only_place_goes_to_whoever_was_not_served_yet() -> None:
    places = queue()
    holders = [Holder(places, principal) for principal in ("greedy", "greedy", "modest")]
    await settle()
    await holders[0].end()
    await settle()
    assert [each.holds.is_set() for each in holders] == [True, False, True]
    await holders[2].end()
    await holders[1].end()


async def test_whoever_is_cancelled_leaves_the_line_cleanly() -> None:
    places = queue()
    first, second, third = Holder(places), Holder(places), Holder(places)
    await settle()
    await second.cancel()
    assert places.waiting == 1
    await first.end()
    await settle()
    assert third.holds.is_set()
    await third.cancel()
    assert (places.taken, places.waiting) == (0, 0)


async def test_a_place_that_comes_as_its_taker_is_cancelled_is_not_lost() -> None:
    places = queue()
    first, second, third = Holder(places), Holder(places), Holder(places)
    await settle()
    first._go.set()
    while second.task._fut_waiter is not None and not second.task._fut_waiter.done():  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    await second.cancel()
    await settle()
    assert third.holds.is_set() and places.taken == 1
    await third.end()
    assert (places.taken, places.waiting) == (0, 0)


async def test_places_may_come_and_go() -> None:
    places = queue(0)
    holders = [Holder(places) for _ in range(3)]
    await settle()
    assert places.taken == 0
    places.resize(2)
    await settle()
    assert [each.holds.is_set() for each in holders] == [True, True, False]
    places.resize(1)
    await holders[0].end()
    await settle()
    assert not holders[2].holds.is_set(), "the bound is lower now"
    await holders[1].end()
    await settle()
    assert holders[2].holds.is_set()
    await holders[2].end()


async def test_a_full_line_refuses_at_once_and_says_that_it_may_pass() -> None:
    places = queue(most_waiting=1)
    holders = [Holder(places), Holder(places)]
    await settle()
    with pytest.raises(BrainFailure) as refused:
        async with places.place("b"):
            pass
    assert (refused.value.kind, refused.value.transient) == ("overloaded", True)
    for each in holders:
        await each.end()


async def test_nobody_waits_for_ever() -> None:
    places = queue(0, patience=0.01)
    with pytest.raises(BrainFailure) as late:
        async with places.place("a"):
            pass
    assert (late.value.kind, late.value.transient) == ("overloaded", True)
    assert (places.taken, places.waiting) == (0, 0)


async def test_who_is_refused_while_waiting_takes_no_place() -> None:
    queue = FairQueue(1, most_waiting=9, patience=5)
    async with queue.place("a"):
        waiting = [asyncio.create_task(take(queue, name)) for name in "bc"]
        await settle()
        assert queue.waiting == 2
        queue.refuse(lambda: BrainFailure("request_failed", "never", transient=True))
        for each in waiting:
            with pytest.raises(BrainFailure, match="never"):
                await each
        assert (queue.taken, queue.waiting) == (1, 0)
    assert queue.taken == 0
    async with queue.place("d"):
        assert queue.taken == 1


async def test_who_waits_in_vain_is_told_why() -> None:
    queue = FairQueue(0, most_waiting=9, patience=0.001, why=lambda: ": nobody is there")
    with pytest.raises(BrainFailure, match=r"within 0\.001 s: nobody is there"):
        await take(queue, "a")


async def take(queue: FairQueue, principal: str) -> None:
    async with queue.place(principal):
        pass
