"""What every lease table promises (port: agents.sessions.log.Leases)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from store_records import AnyStore, Reopen

from agents.clock import ManualClock
from agents.errors import Fenced
from agents.sessions.log import Lease


async def joined(store: AnyStore, *names: str) -> None:
    for name in names:
        assert await store.leases.join(name, ttl=10) == 1


async def owners(store: AnyStore) -> Mapping[int, str]:
    return (await store.leases.table()).owners


async def members(store: AnyStore) -> tuple[str, ...]:
    return (await store.leases.table()).members


async def test_free_partitions_are_taken_and_their_owners_named(store: AnyStore) -> None:
    await joined(store, "one", "two")
    assert await store.leases.claim("one", 1, [3, 1, 3], ttl=10) == [Lease(1, "one", 1), Lease(3, "one", 1)]
    assert await store.leases.claim("two", 1, [], ttl=10) == []
    assert await owners(store) == {1: "one", 3: "one"}


async def test_a_second_claimant_gets_only_what_is_free(store: AnyStore) -> None:
    await joined(store, "one", "two")
    await store.leases.claim("one", 1, [1, 2], ttl=10)
    assert await store.leases.claim("two", 1, [1, 2, 3], ttl=10) == [Lease(3, "two", 1)]
    assert await owners(store) == {1: "one", 2: "one", 3: "two"}


async def test_an_expired_lease_is_free_and_changes_hands_with_a_new_epoch(store: AnyStore, clock: ManualClock) -> None:
    await joined(store, "one", "two")
    await store.leases.claim("one", 1, [1], ttl=10)
    clock.advance(9.999)
    assert await store.leases.claim("two", 1, [1], ttl=10) == []
    clock.advance(0.001)
    assert await owners(store) == {}
    assert await store.leases.claim("two", 1, [1], ttl=10) == [Lease(1, "two", 2)]
    assert await owners(store) == {1: "two"}


async def test_a_claim_says_until_when_an_owner_held_it_that_never_gave_it_back(
    store: AnyStore, clock: ManualClock
) -> None:
    async def lapsed(name: str, generation: int, partition: int) -> datetime | None:
        [lease] = await store.leases.claim(name, generation, [partition], ttl=10)
        return lease.lapsed_at

    await joined(store, "one", "two")
    until = clock.now() + timedelta(seconds=10)
    assert [await lapsed("one", 1, each) for each in (1, 2, 3)] == [None, None, None]
    await store.leases.release("one", 1, [3])
    assert await lapsed("two", 1, 3) is None
    clock.advance(4)
    assert await store.leases.join("one", ttl=10) == 2
    assert await lapsed("one", 2, 1) == until  # its process died, and came back at once
    clock.advance(6)
    assert await lapsed("two", 1, 2) == until
    await store.leases.leave("two", 1)
    assert await lapsed("one", 2, 2) is None
    assert (await store.leases.renew("one", 2, ttl=10))[0].lapsed_at is None


async def test_claiming_again_grows_the_epoch_and_extends(store: AnyStore, clock: ManualClock) -> None:
    await joined(store, "one", "two")
    await store.leases.claim("one", 1, [1], ttl=10)
    clock.advance(8)
    assert await store.leases.claim("one", 1, [1], ttl=10) == [Lease(1, "one", 2)]
    clock.advance(8)
    assert await store.leases.claim("two", 1, [1], ttl=10) == []


async def test_renewing_extends_what_is_held_and_keeps_the_epoch(store: AnyStore, clock: ManualClock) -> None:
    await joined(store, "idle", "one", "two")
    await store.leases.claim("one", 1, [1, 2], ttl=10)
    await store.leases.claim("two", 1, [3], ttl=10)
    clock.advance(8)
    assert await store.leases.renew("one", 1, ttl=10) == [Lease(1, "one", 1), Lease(2, "one", 1)]
    assert await store.leases.renew("idle", 1, ttl=10) == []
    clock.advance(8)
    table = await store.leases.table()
    assert (table.owners, table.members) == ({1: "one", 2: "one"}, ("idle", "one"))


async def test_renewing_does_not_bring_back_what_another_took(store: AnyStore, clock: ManualClock) -> None:
    await joined(store, "one", "two")
    await store.leases.claim("one", 1, [1, 2], ttl=10)
    clock.advance(11)
    await store.leases.claim("two", 1, [1], ttl=10)
    assert await store.leases.renew("one", 1, ttl=10) == [Lease(2, "one", 1)]
    assert await owners(store) == {1: "two", 2: "one"}


async def test_released_partitions_are_free_at_once_and_their_epochs_go_on(store: AnyStore) -> None:
    await joined(store, "one", "two")
    await store.leases.claim("one", 1, [1, 2], ttl=10)
    await store.leases.claim("two", 1, [3], ttl=10)
    await store.leases.release("one", 1, [1, 3, 7])  # one of them is another's, one nobody's
    await store.leases.release("one", 1, [])
    assert await owners(store) == {2: "one", 3: "two"}
    assert await store.leases.renew("one", 1, ttl=10) == [Lease(2, "one", 1)]
    assert await store.leases.claim("two", 1, [1], ttl=10) == [Lease(1, "two", 2)]


async def test_leaving_gives_everything_back_at_once_and_the_next_to_join_is_a_new_generation(store: AnyStore) -> None:
    await joined(store, "one", "two")
    await store.leases.claim("one", 1, [1, 2], ttl=10)
    await store.leases.leave("one", 1)
    table = await store.leases.table()
    assert (table.owners, table.members) == ({}, ("two",))
    assert await store.leases.claim("two", 1, [1], ttl=10) == [Lease(1, "two", 2)]
    await store.leases.leave("nobody", 1)
    assert await store.leases.join("one", ttl=10) == 2


async def test_only_members_that_renewed_within_their_ttl_are_alive(store: AnyStore, clock: ManualClock) -> None:
    await joined(store, "two", "one")
    assert await members(store) == ("one", "two")
    clock.advance(9)
    await store.leases.renew("two", 1, ttl=10)
    clock.advance(1)
    assert await members(store) == ("two",)
    await store.leases.renew("one", 1, ttl=10)  # late, but nobody has joined in its name: it is back
    assert await members(store) == ("one", "two")


async def test_a_member_that_is_about_to_go_keeps_its_leases_and_is_no_longer_counted(
    store: AnyStore, clock: ManualClock
) -> None:
    await joined(store, "one", "two")
    await store.leases.claim("one", 1, [1, 2], ttl=10)
    clock.advance(8)
    assert await store.leases.renew("one", 1, ttl=10, staying=False) == [Lease(1, "one", 1), Lease(2, "one", 1)]
    table = await store.leases.table()
    assert (table.owners, table.members) == ({1: "one", 2: "one"}, ("two",))
    clock.advance(8)
    assert await store.leases.claim("two", 1, [1, 2], ttl=10) == []
    await store.leases.release("one", 1, [1])
    assert await store.leases.claim("two", 1, [1, 2], ttl=10) == [Lease(1, "two", 2)]
    await store.leases.renew("two", 1, ttl=10)
    assert await members(store) == ("two",)
    await store.leases.renew("one", 1, ttl=10)
    assert await members(store) == ("one", "two")


async def test_a_paused_process_is_fenced_once_another_has_joined_under_its_name(store: AnyStore) -> None:
    await joined(store, "one")
    await store.leases.claim("one", 1, [1, 2], ttl=10)
    assert await store.leases.join("one", ttl=10) == 2
    (lease,) = await store.leases.claim("one", 2, [1], ttl=10)
    assert lease == Lease(1, "one", 2)

    with pytest.raises(Fenced):
        await store.leases.claim("one", 1, [1, 2, 3], ttl=10)
    with pytest.raises(Fenced):
        await store.leases.claim("one", 1, [], ttl=10)
    with pytest.raises(Fenced):
        await store.leases.renew("one", 1, ttl=1000)
    with pytest.raises(Fenced):
        await store.leases.release("one", 1, [1])
    await store.leases.leave("one", 1)

    table = await store.leases.table()
    assert (table.owners, table.members) == ({1: "one"}, ("one",))
    assert await store.leases.renew("one", 2, ttl=10) == [lease]


async def test_joining_frees_what_an_earlier_generation_held_so_that_no_lease_has_two_holders(store: AnyStore) -> None:
    await joined(store, "one", "two")
    await store.leases.claim("one", 1, [1, 2], ttl=10)
    await store.leases.join("one", ttl=10)
    assert await store.leases.renew("one", 2, ttl=10) == []
    assert await owners(store) == {}
    assert await store.leases.claim("two", 1, [1], ttl=10) == [Lease(1, "two", 2)]
    assert await store.leases.claim("one", 2, [1, 2], ttl=10) == [Lease(2, "one", 2)]


async def test_who_never_joined_or_has_left_is_fenced(store: AnyStore) -> None:
    with pytest.raises(Fenced):
        await store.leases.claim("nobody", 1, [1], ttl=10)
    await joined(store, "one")
    await store.leases.leave("one", 1)
    with pytest.raises(Fenced):
        await store.leases.claim("one", 1, [1], ttl=10)
    with pytest.raises(Fenced):
        await store.leases.renew("one", 1, ttl=10)
    with pytest.raises(Fenced):
        await store.leases.release("one", 1, [1])
    assert (await store.leases.table()).members == ()


async def test_claimants_in_several_processes_never_share_a_partition(reopen: Reopen, clock: ManualClock) -> None:
    """First of partitions that nobody ever had, then of some whose leases expired."""
    stores = [await reopen() for _ in range(4)]
    wanted = list(range(24))

    async def claim(store: AnyStore, name: str) -> list[Lease]:
        generation = await store.leases.join(name, ttl=10)
        return list(await store.leases.claim(name, generation, wanted, ttl=10))

    for epoch in (1, 2, 3):
        claims = await asyncio.gather(*(claim(each, f"owner-{n}-{epoch}") for n, each in enumerate(stores)))
        taken = [lease for each in claims for lease in each]
        assert sorted(lease.partition for lease in taken) == wanted
        assert {lease.epoch for lease in taken} == {epoch}
        clock.advance(10)


async def test_of_many_that_join_under_one_name_only_the_last_generation_counts(reopen: Reopen) -> None:
    stores = [await reopen() for _ in range(4)]
    generations = await asyncio.gather(*(store.leases.join("one", ttl=10) for store in stores for _ in range(3)))
    assert sorted(generations) == list(range(1, 13))
    outcomes = await asyncio.gather(
        *(stores[0].leases.claim("one", generation, [generation], ttl=10) for generation in generations),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes].count(Fenced) == 11
    assert await owners(stores[0]) == {12: "one"}
