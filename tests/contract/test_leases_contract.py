"""What every lease table promises (port: agents.sessions.log.Leases)."""

from __future__ import annotations

import asyncio

from store_records import AnyStore, Reopen

from agents.clock import ManualClock
from agents.sessions.log import Lease


async def test_free_partitions_are_taken_and_their_owners_named(store: AnyStore) -> None:
    assert await store.leases.claim("one", [3, 1, 3], ttl=10) == [Lease(1, "one", 1), Lease(3, "one", 1)]
    assert await store.leases.claim("two", [], ttl=10) == []
    assert await store.leases.owners() == {1: "one", 3: "one"}


async def test_a_second_claimant_gets_only_what_is_free(store: AnyStore) -> None:
    await store.leases.claim("one", [1, 2], ttl=10)
    assert await store.leases.claim("two", [1, 2, 3], ttl=10) == [Lease(3, "two", 1)]
    assert await store.leases.owners() == {1: "one", 2: "one", 3: "two"}


async def test_an_expired_lease_is_free_and_changes_hands_with_a_new_epoch(store: AnyStore, clock: ManualClock) -> None:
    await store.leases.claim("one", [1], ttl=10)
    clock.advance(9.999)
    assert await store.leases.claim("two", [1], ttl=10) == []
    clock.advance(0.001)
    assert await store.leases.owners() == {}
    assert await store.leases.claim("two", [1], ttl=10) == [Lease(1, "two", 2)]
    assert await store.leases.owners() == {1: "two"}


async def test_claiming_again_grows_the_epoch_and_extends(store: AnyStore, clock: ManualClock) -> None:
    await store.leases.claim("one", [1], ttl=10)
    clock.advance(8)
    assert await store.leases.claim("one", [1], ttl=10) == [Lease(1, "one", 2)]
    clock.advance(8)
    assert await store.leases.claim("two", [1], ttl=10) == []


async def test_renewing_extends_what_is_held_and_keeps_the_epoch(store: AnyStore, clock: ManualClock) -> None:
    await store.leases.claim("one", [1, 2], ttl=10)
    await store.leases.claim("two", [3], ttl=10)
    clock.advance(8)
    assert await store.leases.renew("one", ttl=10) == [Lease(1, "one", 1), Lease(2, "one", 1)]
    clock.advance(8)
    assert await store.leases.owners() == {1: "one", 2: "one"}
    assert await store.leases.renew("nobody", ttl=10) == []


async def test_renewing_does_not_bring_back_what_another_took(store: AnyStore, clock: ManualClock) -> None:
    await store.leases.claim("one", [1, 2], ttl=10)
    clock.advance(11)
    await store.leases.claim("two", [1], ttl=10)
    assert await store.leases.renew("one", ttl=10) == [Lease(2, "one", 1)]
    assert await store.leases.owners() == {1: "two", 2: "one"}


async def test_released_partitions_are_free_at_once_and_their_epochs_go_on(store: AnyStore) -> None:
    await store.leases.claim("one", [1, 2], ttl=10)
    await store.leases.claim("two", [3], ttl=10)
    await store.leases.release("one")
    assert await store.leases.owners() == {3: "two"}
    assert await store.leases.renew("one", ttl=10) == []
    assert await store.leases.claim("two", [1], ttl=10) == [Lease(1, "two", 2)]
    await store.leases.release("nobody")


async def test_claimants_in_several_processes_never_share_a_partition(reopen: Reopen, clock: ManualClock) -> None:
    """First of partitions that nobody ever had, then of some whose leases expired."""
    stores = [await reopen() for _ in range(4)]
    wanted = list(range(24))
    for epoch in (1, 2, 3):
        claims = await asyncio.gather(
            *(each.leases.claim(f"owner-{n}-{epoch}", wanted, ttl=10) for n, each in enumerate(stores))
        )
        taken = [lease for claim in claims for lease in claim]
        assert sorted(lease.partition for lease in taken) == wanted
        assert {lease.epoch for lease in taken} == {epoch}
        clock.advance(10)
