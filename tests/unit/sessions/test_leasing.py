"""Members that keep partitions: claiming, renewing, handing over, losing (law 3), on a clock of our own.

Bug class this catches: a partition that two work in, that nobody takes, that is given away in mid-turn, or
that a process goes on with after another has its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime

import pytest

from agents.clock import ManualClock
from agents.config import HarnessSettings
from agents.errors import Fenced, Unavailable
from agents.sessions.leasing import PartitionKeeper
from agents.sessions.log import Lease, LeaseTable
from agents.store.memory import MemoryLeases

PARTITIONS = 8
TTL = 3.0
BEAT = TTL / 3


class FakeWork:
    """Partitions whose turns a test starts and ends."""

    def __init__(self) -> None:
        self.running: dict[int, int] = {}
        self.drained: set[int] = set()
        self.dropped: list[int] = []
        self._ended = asyncio.Event()

    def end(self, partition: int) -> None:
        del self.running[partition]
        self._ended.set()

    def turns(self, partition: int) -> int:
        return self.running.get(partition, 0)

    def quiet(self, partition: int) -> bool:
        return partition not in self.running

    async def settled(self, partition: int) -> None:
        self._ended.clear()
        await self._ended.wait()

    def drain(self, partition: int) -> None:
        self.drained.add(partition)

    def drop(self, partitions: Collection[int]) -> None:
        self.dropped.extend(partitions)
        for partition in partitions:
            self.running.pop(partition, None)


class FailingLeases(MemoryLeases):
    """Leases whose store can be away, and whose answers to claims can be lost."""

    away = False
    lose_claims = False
    reading: asyncio.Event | None = None
    """When set, whoever has read the table waits for it before it hears what it read."""

    def _check(self) -> None:
        if self.away:
            raise Unavailable("the store is away")

    async def renew(self, name: str, generation: int, *, ttl: float, staying: bool = True) -> Sequence[Lease]:
        self._check()
        return await super().renew(name, generation, ttl=ttl, staying=staying)

    async def claim(self, name: str, generation: int, partitions: Sequence[int], *, ttl: float) -> Sequence[Lease]:
        self._check()
        leases = await super().claim(name, generation, partitions, ttl=ttl)
        if self.lose_claims:
            raise Unavailable("the answer was lost")
        return leases

    async def release(self, name: str, generation: int, partitions: Sequence[int]) -> None:
        self._check()
        await super().release(name, generation, partitions)

    async def table(self) -> LeaseTable:
        self._check()
        table = await super().table()
        if self.reading is not None:
            await self.reading.wait()
        return table


class Member:
    """One keeper, and what it told its owner."""

    def __init__(self, cluster: Cluster, name: str, *, sides: bool = False, **settings: float) -> None:
        chosen = HarnessSettings.model_validate(
            {"partitions": PARTITIONS, "lease_ttl_seconds": TTL, "handover_seconds": 30, "drain_seconds": 5, **settings}
        )
        self.work = FakeWork()
        self.gained: list[int] = []
        self.replaced = 0
        self.keeper = PartitionKeeper(
            cluster.leases,
            cluster.clock,
            name,
            self.work,
            chosen,
            on_gained=self.gained.extend,
            on_replaced=self._on_replaced,
            sides=sides,
        )

    def _on_replaced(self) -> None:
        self.replaced += 1

    @property
    def held(self) -> set[int]:
        return set(self.keeper.held)

    def freeze(self) -> None:
        """Let it beat no more, as a stopped process."""
        if self.keeper._beating is not None:
            self.keeper._beating.cancel()


async def _settled() -> None:
    """Let every task run until it waits for the clock, or for a test."""
    for _ in range(30):
        await asyncio.sleep(0)


class Cluster:
    """Members over one lease table."""

    def __init__(self) -> None:
        self.clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
        self.leases = FailingLeases(self.clock)
        self.members: list[Member] = []

    async def add(self, name: str, *, sides: bool = False, **settings: float) -> Member:
        member = Member(self, name, sides=sides, **settings)
        self.members.append(member)
        await member.keeper.start()
        await _settled()
        return member

    async def beat(self, count: int = 1) -> None:
        """Let *count* beats pass."""
        for _ in range(count):
            self.clock.advance(BEAT)
            await _settled()

    def check(self) -> None:
        """No partition is held twice in the present, and what is held is so in the store."""
        for member in self.members:
            for partition, lease in member.keeper.held.items():
                row = self.leases.rows[partition]
                assert (row["owner"], row["epoch"]) == (lease.owner, lease.epoch)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    yield made
    for member in made.members:
        member.freeze()


async def test_the_first_member_holds_everything_and_keeps_it(cluster: Cluster) -> None:
    one = await cluster.add("one")
    assert one.held == set(range(PARTITIONS)) and sorted(one.gained) == sorted(one.held)
    epochs = dict(one.keeper.held)
    await cluster.beat(10)
    assert one.keeper.held == epochs and not one.work.dropped


async def test_a_newcomer_gets_its_share_within_two_beats(cluster: Cluster) -> None:
    one = await cluster.add("one")
    two = await cluster.add("two")
    await cluster.beat(2)
    assert len(one.held) == len(two.held) == PARTITIONS // 2 and not one.held & two.held
    assert set(one.work.dropped) == two.held == set(two.gained)
    assert one.keeper.handovers == two.keeper.takeovers == PARTITIONS // 2
    settled = one.held, two.held
    await cluster.beat(5)
    assert (one.held, two.held) == settled
    cluster.check()


async def test_a_standby_gets_its_own_partitions_each_at_the_end_of_its_turns_and_no_other(cluster: Cluster) -> None:
    parts = await cluster.add("harness-0", sides=True)
    parts.work.running = {PARTITIONS - 1: 1}
    monolith = await cluster.add("monolith-m-0", sides=True)
    await cluster.beat(2)
    assert monolith.held == {PARTITIONS - 2} and PARTITIONS - 1 in parts.held
    parts.work.end(PARTITIONS - 1)
    await _settled()
    await cluster.beat(2)
    assert monolith.held == {PARTITIONS - 2, PARTITIONS - 1} and parts.held == set(range(PARTITIONS - 2))
    cluster.check()
    monolith.freeze()
    await cluster.beat(5)
    assert parts.held == set(range(PARTITIONS)), "nothing is without an owner"


async def test_the_partitions_of_a_dead_member_are_taken_when_its_leases_run_out(cluster: Cluster) -> None:
    one, two = await cluster.add("one"), await cluster.add("two")
    await cluster.beat(2)
    two.freeze()
    await cluster.beat(2)
    assert len(one.held) == PARTITIONS // 2
    await cluster.beat(3)
    assert one.held == set(range(PARTITIONS))


async def test_a_process_that_starts_again_owns_at_once_what_it_had(cluster: Cluster) -> None:
    one, two = await cluster.add("one"), await cluster.add("two")
    await cluster.beat(2)
    had, epochs = one.held, dict(one.keeper.held)
    one.freeze()
    again = await cluster.add("one")
    assert again.held == had == set(again.gained)
    assert all(lease.epoch > epochs[partition].epoch for partition, lease in again.keeper.held.items())
    assert again.keeper.generation == one.keeper.generation + 1
    await cluster.beat(3)
    assert again.held == had and not again.held & two.held


async def test_a_process_that_wakes_up_after_its_replacement_stops_everything(cluster: Cluster) -> None:
    one = await cluster.add("one")
    one.work.running[3] = 1
    again = await cluster.add("one")
    await cluster.beat()
    assert one.held == set() and set(one.work.dropped) == set(range(PARTITIONS))
    assert one.replaced == 1 and not again.replaced and again.held == set(range(PARTITIONS))
    await cluster.beat(3)
    assert one.replaced == 1
    with pytest.raises(Fenced):
        one.keeper.lease(3)


async def test_a_frozen_process_whose_partitions_were_taken_drops_them_and_gets_a_share_again(cluster: Cluster) -> None:
    one, two = await cluster.add("one"), await cluster.add("two")
    await cluster.beat(2)
    had = two.held
    two.freeze()
    await cluster.beat(5)
    assert one.held == set(range(PARTITIONS))
    two.keeper._beating = asyncio.create_task(two.keeper._beat())
    await cluster.beat(4)
    assert set(two.work.dropped) >= had and not two.replaced
    assert len(two.held) == len(one.held) == PARTITIONS // 2 and not two.held & one.held
    cluster.check()


async def test_quiet_partitions_are_handed_over_first_and_busy_ones_at_the_end_of_their_turns(cluster: Cluster) -> None:
    one = await cluster.add("one")
    one.work.running = dict.fromkeys(range(6), 1)
    two = await cluster.add("two")
    await cluster.beat(2)
    assert two.held == {6, 7}
    await cluster.beat(3)
    assert two.held == {6, 7} and not one.work.drained & one.held
    waiting = sorted(one.keeper._handing)
    one.work.end(waiting[0])
    await cluster.beat(2)
    assert two.held == {6, 7, waiting[0]}
    one.work.end(waiting[1])
    await cluster.beat(2)
    assert len(two.held) == PARTITIONS // 2


async def test_past_the_patience_turns_are_stopped_at_a_step_and_then_left(cluster: Cluster) -> None:
    one = await cluster.add("one", handover_seconds=4 * BEAT, drain_seconds=3 * BEAT)
    one.work.running = dict.fromkeys(range(PARTITIONS), 1)
    two = await cluster.add("two")
    await cluster.beat(2)
    assert not one.work.drained
    await cluster.beat(4)
    assert len(one.work.drained) == PARTITIONS // 2 and not two.held
    await cluster.beat(4)
    assert two.held == one.work.drained == set(one.work.dropped)
    cluster.check()


async def test_nothing_is_handed_over_to_a_member_that_has_gone_again(cluster: Cluster) -> None:
    one = await cluster.add("one", handover_seconds=10 * BEAT)
    one.work.running = dict.fromkeys(range(PARTITIONS), 1)
    two = await cluster.add("two")
    await cluster.beat(2)
    two.freeze()
    await cluster.beat(12)
    assert one.held == set(range(PARTITIONS)) and not one.work.dropped and not one.keeper._handing


async def test_a_member_that_stops_gives_back_what_is_quiet_at_once_and_is_no_longer_counted(cluster: Cluster) -> None:
    one, two = await cluster.add("one"), await cluster.add("two")
    await cluster.beat(2)
    busy = min(two.held)
    two.work.running[busy] = 1
    stopping = asyncio.create_task(two.keeper.stop())
    await cluster.beat(2)
    assert one.held == set(range(PARTITIONS)) - {busy} and two.held == {busy}
    assert two.work.drained == {busy} | set(two.work.dropped)
    two.work.end(busy)
    await cluster.beat(2)
    assert stopping.done() and one.held == set(range(PARTITIONS))
    assert (await cluster.leases.table()).members == ("one",)


async def test_a_member_that_stops_waits_no_longer_than_it_may(cluster: Cluster) -> None:
    one = await cluster.add("one", drain_seconds=2 * BEAT)
    one.work.running[0] = 1
    stopping = asyncio.create_task(one.keeper.stop())
    await cluster.beat(1)
    assert one.held == {0}
    await cluster.beat(2)
    assert stopping.done() and 0 in one.work.dropped
    assert (await cluster.leases.table()) == LeaseTable({}, ())


async def test_while_the_store_is_away_what_is_held_stays_held(cluster: Cluster) -> None:
    one = await cluster.add("one")
    cluster.leases.away = True
    await cluster.beat(9)
    assert one.held == set(range(PARTITIONS)) and not one.work.dropped
    cluster.leases.away = False
    await cluster.beat(2)
    assert one.held == set(range(PARTITIONS)) and not one.work.dropped, "nobody else has taken what had run out"


async def test_what_could_not_be_given_back_is_given_back_later(cluster: Cluster) -> None:
    one = await cluster.add("one")
    one.work.running = dict.fromkeys(range(PARTITIONS), 1)
    two = await cluster.add("two")
    await cluster.beat(2)
    moving = min(one.keeper._handing)
    cluster.leases.away = True
    one.work.end(moving)
    await cluster.beat()
    assert moving in one.work.dropped and moving not in one.held
    cluster.leases.away = False
    await cluster.beat(2)
    assert moving in two.held
    cluster.check()


async def test_what_is_given_up_while_the_table_is_read_is_not_claimed_back(cluster: Cluster) -> None:
    one = await cluster.add("one")
    one.work.running = dict.fromkeys(range(PARTITIONS), 1)
    await cluster.add("two")
    await cluster.beat(2)
    moving = min(one.keeper._handing)
    epoch = one.keeper.lease(moving).epoch
    cluster.leases.reading = asyncio.Event()
    await cluster.beat()
    one.work.end(moving)
    await _settled()
    assert moving in one.work.dropped
    cluster.leases.reading.set()
    cluster.leases.reading = None
    await _settled()
    assert cluster.leases.rows[moving]["owner"] != "one"
    assert cluster.leases.rows[moving]["epoch"] <= epoch + 1 and one.keeper.takeovers == PARTITIONS


async def test_a_claim_whose_answer_was_lost_is_made_again(cluster: Cluster) -> None:
    cluster.leases.lose_claims = True
    with pytest.raises(Unavailable):
        await cluster.add("one")
    cluster.leases.lose_claims = False
    one = await cluster.add("one")
    assert one.held == set(range(PARTITIONS))
    cluster.check()


async def test_a_refused_lease_is_dropped_at_once_and_only_that_one(cluster: Cluster) -> None:
    one = await cluster.add("one")
    lease = one.keeper.lease(2)
    cluster.leases.rows[2].update(owner="two", epoch=lease.epoch + 1)
    one.keeper.lose(Lease(3, "one", lease.epoch - 1))
    assert not one.work.dropped, "a lease of the past says nothing of the present one"
    one.keeper.lose(lease)
    assert one.work.dropped == [2] and one.held == set(range(PARTITIONS)) - {2}


async def test_members_that_come_and_go_end_with_fair_shares(cluster: Cluster) -> None:
    members = [await cluster.add(f"m{number}") for number in range(5)]
    await cluster.beat(3)
    assert sorted(len(member.held) for member in members) == [1, 1, 2, 2, 2]
    leaving = members.pop(0)
    stopping = asyncio.create_task(leaving.keeper.stop())
    members.pop(0).freeze()
    await cluster.beat(6)
    assert stopping.done()
    assert sorted(len(member.held) for member in members) == [2, 3, 3]
    assert {partition for member in members for partition in member.held} == set(range(PARTITIONS))
