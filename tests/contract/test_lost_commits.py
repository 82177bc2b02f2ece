"""A connection that is lost at the commit, before or after it went through: nothing is lost, nothing done twice.

Bug class this catches: a retried commit that lands twice, an acknowledged one that is nowhere, a success that
is told as a conflict with itself.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cutting_proxy import Cut, CuttingProxy
from postgres_server import PostgresServer
from store_records import agent, claimed, logged, session, step, waiting

from agents.clock import ManualClock
from agents.errors import Fenced, LogConflict, NotFound, Unavailable
from agents.ids import SessionId
from agents.sessions.log import Lease
from agents.store.database import SqlStore, open_store

either = pytest.mark.parametrize("cut", list(Cut))


@pytest.fixture
async def proxy(postgres: PostgresServer, postgres_database: str) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """A way to a new database, and its URL."""
    with tempfile.TemporaryDirectory(prefix="hpx-") as home:
        between = CuttingProxy(postgres.home)
        async with between.listening(Path(home)):
            yield between, postgres_database.replace(str(postgres.home), home)


@pytest.fixture
def cuts(proxy: tuple[CuttingProxy, str]) -> list[Cut]:
    """Put cuts in here: the next commits meet them."""
    return proxy[0].cuts


@pytest.fixture
async def store(proxy: tuple[CuttingProxy, str], clock: ManualClock) -> AsyncIterator[SqlStore]:
    opened = await open_store(proxy[1], clock=clock)
    yield opened
    await opened.close()


@either
async def test_a_session_is_created_once(store: SqlStore, cuts: list[Cut], cut: Cut) -> None:
    commit = step(await claimed(store), session(), logged(), queue=[waiting()])
    cuts += [cut, cut]
    await store.log.create(commit)
    assert cuts == [], "the commits were not cut"
    loaded = await store.log.load(SessionId(commit.record.id))
    assert (loaded.record, len(loaded.events), loaded.queued) == (commit.record, 1, commit.queue)


@either
async def test_an_append_lands_once(store: SqlStore, cuts: list[Cut], cut: Cut) -> None:
    lease = await claimed(store)
    first = step(lease, session(), logged(), queue=[waiting()])
    await store.log.create(first)
    second = step(lease, first.record, logged(), queue=[waiting()], consume=[first.queue[0].id])
    cuts += [cut, cut]
    await store.log.append(second)
    assert cuts == []
    loaded = await store.log.load(SessionId(first.record.id))
    assert [event.id for event in loaded.events] == [first.events[0].id, second.events[0].id]
    assert loaded.queued == second.queue
    await store.log.append(step(lease, second.record, logged()))


@either
async def test_a_session_is_deleted_once(store: SqlStore, cuts: list[Cut], cut: Cut) -> None:
    lease = await claimed(store)
    commit = step(lease, session(), logged())
    await store.log.create(commit)
    name = SessionId(commit.record.id)
    cuts += [cut, cut]
    await store.log.delete(lease, name)
    assert cuts == []
    assert await store.log.deleted([1]) == [name]
    with pytest.raises(NotFound):
        await store.log.delete(lease, name)


@either
async def test_a_group_keeps_its_members_apart(store: SqlStore, cuts: list[Cut], cut: Cut) -> None:
    """Good and bad changes in one lost commit: each hears its own outcome."""
    lease = await claimed(store)
    creations = [step(lease, session(), logged()) for _ in range(40)]
    await asyncio.gather(*(store.log.create(commit) for commit in creations))
    appends = [step(lease, commit.record, logged()) for commit in creations]
    bad = [step(lease, session(), logged()), step(Lease(2, "one", 1), session(2), logged()), creations[0]]
    cuts += [cut, cut]

    outcomes = await asyncio.gather(
        *(store.log.append(commit) for commit in (*appends, *bad[:2])),
        store.log.delete(lease, SessionId("sesn_none")),
        return_exceptions=True,
    )

    assert cuts == []
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 40 + [NotFound, Fenced, NotFound]
    for commit in appends:
        loaded = await store.log.load(SessionId(commit.record.id))
        assert [event.seq for event in loaded.events] == [1, 2]


@either
async def test_a_repeated_event_id_is_refused_and_its_neighbours_are_not(
    store: SqlStore, cuts: list[Cut], cut: Cut
) -> None:
    lease = await claimed(store)
    commits = [step(lease, session(), logged()) for _ in range(3)]
    await asyncio.gather(*(store.log.create(commit) for commit in commits))
    appends = [step(lease, commit.record, logged()) for commit in commits]
    appends[1] = step(lease, commits[1].record, commits[0].events[0])
    cuts += [cut, cut]
    outcomes = await asyncio.gather(*(store.log.append(commit) for commit in appends), return_exceptions=True)
    assert cuts == []
    assert [type(outcome) for outcome in outcomes] == [type(None), LogConflict, type(None)]


@either
async def test_leases_are_claimed_renewed_and_given_back(store: SqlStore, cuts: list[Cut], cut: Cut) -> None:
    cuts += [cut]
    generation = await store.leases.join("one", ttl=10)
    cuts += [cut]
    (lease,) = await store.leases.claim("one", generation, [1], ttl=10)
    cuts += [cut]
    assert await store.leases.renew("one", generation, ttl=10) == [lease]
    await store.log.create(step(lease, session(), logged()))
    cuts += [cut]
    await store.leases.release("one", generation, [1])
    assert (await store.leases.table()).owners == {}
    cuts += [cut]
    await store.leases.leave("one", generation)
    assert cuts == []
    assert (await store.leases.table()).members == ()


async def test_a_catalog_write_is_tried_again_only_if_it_certainly_did_not_happen(
    store: SqlStore, proxy: tuple[CuttingProxy, str]
) -> None:
    """It has no stamp: done twice it would contradict itself."""
    between = proxy[0]
    between.cuts += [Cut.AFTER_COMMIT]
    reached = between.commits
    with pytest.raises(Unavailable, match="not known"):
        await store.agents.insert(agent(1))
    assert between.commits == reached + 1
    assert await store.agents.get(agent(1).id) == agent(1)
