"""A real PostgreSQL server that is restarted, killed, frozen, turned read-only and replaced under load.

Bug class this catches: an acknowledged commit that is gone, a commit that is there twice, a request that fails
because of a dead pooled connection, a call that hangs on a server that does not answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest
from postgres_server import PostgresServer
from sqlalchemy import Connection, text
from store_records import agent, claimed, claimed_all, logged, session, step

from agents.errors import Unavailable
from agents.ids import EventId, SessionId
from agents.listing import Listing
from agents.sessions.events import SessionRecord
from agents.sessions.log import Lease
from agents.store.database import SqlStore, open_store
from agents.store.ports import EventListing, SessionListing
from agents.store.postgres import PostgresDatabase

WRITERS = 100
STEPS = 5
"""Appends per writer, on average, between two blows."""


@dataclass(slots=True)
class Writer:
    """Appends to one session for ever, as its owner would: after an outcome that it never heard it looks."""

    store: SqlStore
    lease: Lease
    record: SessionRecord
    acknowledged: list[EventId] = field(default_factory=lambda: [])
    unheard: set[EventId] = field(default_factory=lambda: set())

    async def write(self, told: asyncio.Queue[bool], stop: asyncio.Event) -> None:
        while not stop.is_set():
            commit = step(self.lease, self.record, logged(), logged())
            ids = [event.id for event in commit.events]
            try:
                await self.store.log.append(commit)
            except Unavailable as refusal:
                assert refusal.retry_after
                told.put_nowait(False)
                self.unheard.update(ids)
                self.record = await self._look()
            else:
                self.acknowledged += ids
                self.record = commit.record
                told.put_nowait(True)

    async def _look(self) -> SessionRecord:
        while True:
            try:
                return (await self.store.log.load(SessionId(self.record.id))).record
            except Unavailable:
                continue

    async def check(self) -> None:
        """What was acknowledged is there, once and in order, and nothing that nobody wrote."""
        loaded = await self.store.log.load(SessionId(self.record.id))
        there = [event.id for event in loaded.events]
        assert [event.seq for event in loaded.events] == list(range(1, loaded.record.seq + 1))
        assert len(set(there)) == len(there)
        assert [event_id for event_id in there if event_id not in self.unheard] == self.acknowledged
        assert len(self.acknowledged) >= 2
        listed = await self.store.sessions.events(SessionId(self.record.id), EventListing(limit=len(there)))
        assert [event.id for event in listed] == there


class Load:
    """Many writers at work."""

    def __init__(self, writers: list[Writer]) -> None:
        self.writers = writers
        self._told: asyncio.Queue[bool] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(writer.write(self._told, self._stop)) for writer in writers]

    async def until(self, outcome: bool, count: int) -> None:
        """Wait for so many more acknowledgements, or refusals."""
        async with asyncio.timeout(60):
            while count:
                count -= await self._told.get() is outcome

    async def go_on(self) -> None:
        await self.until(True, STEPS * len(self.writers))

    async def end(self) -> None:
        self._stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)

    def abandon(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def writing(store: SqlStore, writers: int = WRITERS) -> AsyncIterator[Load]:
    """Write from many sessions all the while, and check all of them at the end."""
    lease = await claimed(store, ttl=3600)
    commits = [step(lease, session()) for _ in range(writers)]
    await asyncio.gather(*(store.log.create(commit) for commit in commits))
    load = Load([Writer(store, lease, commit.record) for commit in commits])
    try:
        yield load
    except BaseException:
        load.abandon()
        raise
    await load.end()
    for writer in load.writers:
        await writer.check()


async def test_appends_ride_out_a_server_that_is_restarted_and_killed(
    postgres: PostgresServer, postgres_database: str
) -> None:
    """Nobody even hears of it: the server is back within the deadline."""
    store = await open_store(postgres_database, deadline=30)
    async with writing(store) as load:
        for blow in (postgres.stop, postgres.kill, postgres.stop):
            await load.go_on()
            await asyncio.to_thread(blow)
            await asyncio.to_thread(postgres.start)
        await load.go_on()
    assert not any(writer.unheard for writer in load.writers)
    await store.close()


async def test_a_server_that_is_away_for_longer_is_unavailable_and_what_was_acknowledged_stays(
    postgres: PostgresServer, postgres_database: str
) -> None:
    store = await open_store(postgres_database, deadline=2)
    async with writing(store, writers=20) as load:
        for blow in (postgres.stop, postgres.kill):
            await load.go_on()
            await asyncio.to_thread(blow)
            await load.until(False, len(load.writers) // 2)
            with pytest.raises(Unavailable):
                await store.sessions.list(SessionListing())
            await asyncio.to_thread(postgres.start)
        await load.go_on()
    await store.close()


async def read_everything(store: SqlStore, session_id: SessionId) -> None:
    await asyncio.gather(
        store.ping(),
        store.agents.list(Listing()),
        store.environments.list(Listing()),
        store.sessions.get(session_id),
        store.sessions.list(SessionListing()),
        store.sessions.events(session_id, EventListing()),
        store.log.load(session_id),
        store.log.read(session_id, after=0, limit=10),
        store.log.unfinished([1]),
        store.leases.table(),
        store.meter.totals(session_id),
    )


async def test_no_request_fails_because_its_pooled_connection_died_while_idle(
    postgres: PostgresServer, postgres_database: str
) -> None:
    """User ask 56: reads, and writes of every kind, as the first request after the server was restarted."""
    store = await open_store(postgres_database)
    lease = await claimed(store, ttl=3600)
    commit = step(lease, session(), logged())
    await store.log.create(commit)
    name = SessionId(commit.record.id)
    for request in (
        lambda: read_everything(store, name),
        lambda: store.agents.insert(agent()),
        lambda: store.log.append(step(lease, commit.record, logged())),
        lambda: store.leases.renew("one", 1, ttl=10),
    ):
        await read_everything(store, name)  # which fills the pool
        await asyncio.to_thread(postgres.stop)
        await asyncio.to_thread(postgres.start)
        await request()
    await store.close()


async def test_a_frozen_server_is_cut_off_at_the_deadline_and_used_again_once_it_thaws(
    postgres: PostgresServer, postgres_database: str
) -> None:
    store = await open_store(postgres_database, deadline=1)
    lease = await claimed(store, ttl=3600)
    commit = step(lease, session(), logged())
    await store.log.create(commit)
    name, append = SessionId(commit.record.id), step(lease, commit.record, logged())
    with postgres.frozen():
        started = time.monotonic()
        outcomes = await asyncio.gather(
            store.log.append(append),
            store.log.load(name),
            store.agents.insert(agent()),
            store.leases.renew("one", 1, ttl=0.5),
            store.leases.table(),
            return_exceptions=True,
        )
        assert time.monotonic() - started < 10
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 5
    await store.log.append(append)  # whether it had been written or not
    assert (await store.log.load(name)).record == append.record
    await store.close()


@contextmanager
def paused(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


async def test_an_answer_that_does_not_come_is_had_on_another_connection(
    postgres: PostgresServer, postgres_database: str
) -> None:
    """As when a firewall has forgotten an idle connection: it is not dead, it only never answers."""
    store = await open_store(postgres_database, deadline=3)
    lease = await claimed(store, ttl=3600)
    commit = step(lease, session(), logged())
    await store.log.create(commit)

    def others(connection: Connection) -> list[int]:
        mine = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        return list(connection.execute(text(mine)).scalars())

    pids = await store._database.read(others)
    assert len(pids) == 2, "the log's own connection and one of the pool"
    with paused(pids[0]), paused(pids[1]):
        second = step(lease, commit.record, logged())
        await asyncio.gather(store.log.append(second), store.sessions.get(SessionId(commit.record.id)))
    assert (await store.log.load(SessionId(commit.record.id))).record == second.record
    await store.close()


@contextmanager
def read_only(postgres: PostgresServer) -> Iterator[None]:
    try:
        postgres.tell("ALTER SYSTEM SET default_transaction_read_only = on")
        postgres.tell("SELECT pg_reload_conf()")
        yield
    finally:
        # Whatever fails in between: the tests after it write to the same server.
        postgres.tell("ALTER SYSTEM RESET default_transaction_read_only")
        postgres.tell("SELECT pg_reload_conf()")


async def test_a_primary_that_only_reads_is_waited_for(postgres: PostgresServer, postgres_database: str) -> None:
    """What a connection sees of a failover that has demoted its server."""
    store = await open_store(postgres_database, deadline=20)
    async with writing(store, writers=10) as load:
        await load.go_on()
        with read_only(postgres):
            catalog = asyncio.create_task(store.agents.insert(agent()))
            done, _ = await asyncio.wait([catalog], timeout=0.5)
            assert not done
        await catalog
        await load.go_on()
    assert not any(writer.unheard for writer in load.writers)
    assert await store.agents.get(agent().id) == agent()
    await store.close()


async def test_a_standby_takes_over_from_a_killed_primary_and_nothing_acknowledged_is_lost() -> None:
    """With synchronous replication, as it has to be for that."""
    primary = PostgresServer()
    primary.start()
    name = "failover"
    primary.tell(f"CREATE DATABASE {name}")
    standby = PostgresServer(primary=primary)
    standby.start()
    try:
        primary.tell("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.tell("SELECT pg_reload_conf()")
        # The standby is named first: it is passed over as long as it is one.
        store = await open_store(standby.url(name, primary), deadline=30)
        async with writing(store) as load:
            await load.go_on()
            await asyncio.to_thread(primary.kill)
            await asyncio.to_thread(standby.promote)
            await load.go_on()
        assert not any(writer.unheard for writer in load.writers)
        await store.close()
    finally:
        standby.remove()
        primary.remove()


async def test_an_owner_that_freezes_in_mid_commit_keeps_no_other_partition_and_its_own_not_for_long(
    postgres: PostgresServer, postgres_database: str
) -> None:
    frozen, other = await open_store(postgres_database), await open_store(postgres_database)
    await claimed_all(frozen, 0, 1, 2, owner="frozen", ttl=1)
    generation = await other.leases.join("other", ttl=60)

    async def taken(partition: int) -> None:
        async with asyncio.timeout(20):
            while not await other.leases.claim("other", generation, [partition], ttl=60):
                await asyncio.sleep(0.1)

    await taken(2)  # its leases are over
    database = frozen._database
    assert isinstance(database, PostgresDatabase)
    connection = await database._line._connected()
    await connection.execute("BEGIN")
    await connection.fetch("SELECT partition FROM leases WHERE partition = 0 FOR SHARE")
    [at_once] = await other.leases.claim("other", generation, [0, 1], ttl=60)
    assert at_once.partition == 1
    await taken(0)
    await asyncio.gather(frozen.close(), other.close())
