"""The two sides of a platform with a standby, over every lease table.

Bug class this catches: sides that take each other's partitions for ever, a partition that nobody takes when a side
has gone, an old epoch that still counts after it has moved.
"""

from __future__ import annotations

import pytest
from store_records import AnyStore, session

from agents.clock import ManualClock
from agents.errors import Fenced
from agents.sessions.balance import plan
from agents.sessions.log import Commit, Lease
from agents.sessions.sides import territory

PARTITIONS, TTL = 8, 10.0
OWN, THEIRS = set(territory("monolith", PARTITIONS)), set(territory("decoupled", PARTITIONS))


class Member:
    """Beats as a keeper does, with nothing under way in any partition."""

    def __init__(self, store: AnyStore, name: str) -> None:
        self.store = store
        self.name = name
        self.held: dict[int, Lease] = {}

    async def join(self) -> None:
        assert await self.store.leases.join(self.name, ttl=TTL) == 1

    async def beat(self) -> None:
        leases = self.store.leases
        self.held = {lease.partition: lease for lease in await leases.renew(self.name, 1, ttl=TTL)}
        due = plan(await leases.table(), self.name, self.held, PARTITIONS, sides=True)
        self.held |= {lease.partition: lease for lease in await leases.claim(self.name, 1, due.claim, ttl=TTL)}
        given = sorted(self.held, key=lambda each: each not in due.foreign)[: due.excess]
        await leases.release(self.name, 1, given)
        for partition in given:
            del self.held[partition]


async def test_each_side_claims_its_own_and_everything_when_it_is_alone(store: AnyStore, clock: ManualClock) -> None:
    parts, monolith = Member(store, "harness-0"), Member(store, "monolith-m-0")
    await parts.join()
    await parts.beat()
    assert parts.held.keys() == OWN | THEIRS
    record = session(partition=PARTITIONS - 1)
    stale = parts.held[record.partition]
    await store.log.create(Commit(stale, 0, record))
    await monolith.join()
    for member in (parts, monolith, parts, monolith):
        await member.beat()
    assert (parts.held.keys(), monolith.held.keys()) == (THEIRS, OWN)
    with pytest.raises(Fenced):
        await store.log.append(Commit(stale, 0, record))
    await store.log.append(Commit(monolith.held[record.partition], 0, record))

    clock.advance(TTL)
    await parts.beat()
    assert parts.held.keys() == OWN | THEIRS, "the monolith has gone"
    with pytest.raises(Fenced):
        await store.log.append(Commit(monolith.held[record.partition], 0, record))
