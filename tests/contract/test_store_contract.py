"""What the databases promise beyond the ports: durability, schema, and how they fail."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from postgres_server import PostgresServer
from sqlalchemy.engine import make_url
from store_records import T0, AnyStore, Reopen, agent, claimed, environment, logged, session, step

from agents.clock import ManualClock
from agents.economics.meter import MeterKind, MeterRow
from agents.errors import InvalidRequest, Unavailable
from agents.ids import SessionId
from agents.listing import Listing
from agents.sessions.log import Lease
from agents.store.database import SqlStore, open_store
from agents.store.ports import EventListing, SessionListing
from agents.store.sqlite import SqliteDatabase
from agents.store.sqlite_line import Pace

WRITER = Path(__file__).with_name("acknowledging_writer.py")


async def test_a_reachable_store_answers_a_ping(store: AnyStore) -> None:
    await store.ping()


async def test_the_number_of_partitions_is_fixed_by_whoever_asks_first(reopen: Reopen) -> None:
    first, second = await reopen(), await reopen()
    assert await first.leases.fix_partitions(8) == 8
    assert [await each.leases.fix_partitions(16) for each in (first, second)] == [8, 8]
    await second.leases.join("one", ttl=10)
    assert len(await second.leases.claim("one", 1, range(8), ttl=10)) == 8


async def test_what_was_acknowledged_is_there_after_the_writer_is_killed(location: str, clock: ManualClock) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), location, stdout=asyncio.subprocess.PIPE, cwd=WRITER.parent
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    async with asyncio.timeout(60):
        while len(lines) < 400:
            line = await process.stdout.readline()
            assert line, "the writer ended by itself"
            lines.append(line)
        process.kill()
        lines += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()

    store = await open_store(location, clock=clock)
    acknowledged = [line.decode().split() for line in lines if line.endswith(b"\n")]
    assert len(acknowledged) >= 400
    for name, event_id, seq in acknowledged:
        assert await store.sessions.position(SessionId(name), event_id) == int(seq)
    for record in await store.sessions.list(SessionListing(limit=100)):
        loaded = await store.log.load(SessionId(record.id))
        # The row and its events went in together, also those that nobody heard of any more.
        assert [event.seq for event in loaded.events] == list(range(1, loaded.record.seq + 1))
    await store.close()


async def test_sqlite_puts_every_commit_on_disk_before_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killing a process cannot show it, only cutting the power could, and counting system calls needs strace,
    which few machines have; so the settings themselves are checked, on all connections that write."""
    store = await open_store(tmp_path / "hecaton.db")
    lease = await claimed(store)
    await store.log.create(step(lease, session(), logged()))
    monkeypatch.setattr(Pace, "quick", True)
    await store.log.create(step(lease, session(), logged()))
    database = store._database
    assert isinstance(database, SqliteDatabase)
    thread_line, loop_line = database._thread_line._connection, database._loop_line._connection
    assert thread_line is not None and loop_line is not None
    names, expected, full = ("journal_mode", "synchronous", "foreign_keys"), ["wal", 2, 1], []
    full.append(
        await database.write(
            lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
        )
    )
    in_its_thread = functools.partial(asyncio.get_running_loop().run_in_executor, database._write_thread)
    full.append(await in_its_thread(lambda: [thread_line.execute(f"PRAGMA {name}").fetchone()[0] for name in names]))
    full.append([loop_line.execute(f"PRAGMA {name}").fetchone()[0] for name in names])
    assert full == [expected] * 3
    await store.close()


OPENER = """
import asyncio, sys
from agents.store.database import open_store

async def main():
    store = await open_store(sys.argv[1])
    await store.ping()
    await store.close()

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
"""


async def test_several_processes_may_open_a_new_database_at_once(empty_location: str) -> None:
    pipe = asyncio.subprocess.PIPE
    arguments = (sys.executable, "-c", OPENER, empty_location)
    openers = [await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe) for _ in range(4)]
    async with asyncio.timeout(60):
        for opener in openers:
            assert opener.stdout is not None
            assert await opener.stdout.readline() == b"ready\n"
        await asyncio.gather(*(opener.communicate(b"\n") for opener in openers))
    assert [opener.returncode for opener in openers] == [0, 0, 0, 0]


async def test_one_process_may_open_several_databases_at_once(postgres: PostgresServer, tmp_path: Path) -> None:
    with postgres.database() as one, postgres.database() as two:
        places = [one, str(tmp_path / "one.db"), two, str(tmp_path / "two.db")]
        async with asyncio.timeout(60):
            for store in await asyncio.gather(*(open_store(place) for place in places * 2)):
                await store.close()


@pytest.mark.parametrize(
    "url", ["mysql://root:secret@host/db", "postgresql://u:secret@h/d", "sqlite://", "a b://secret"]
)
async def test_a_url_of_another_kind_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await open_store(url)
    assert "secret" not in str(refused.value)


@asynccontextmanager
async def locked(location: str) -> AsyncIterator[None]:
    """Another process holds the database's locks."""
    if "://" not in location:
        holder = sqlite3.connect(location, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.close()
        return
    url = make_url(location)
    connection = await asyncpg.connect(host=str(url.query["host"]), user=url.username, database=url.database)
    async with connection.transaction():
        await connection.execute("LOCK TABLE leases, agents IN ACCESS EXCLUSIVE MODE")
        yield
    await connection.close()


async def test_a_lock_that_is_held_too_long_is_unavailable_and_passes(location: str) -> None:
    store = await open_store(location, deadline=0.6)
    lease = await claimed(store, ttl=3600)
    commits = [step(lease, session(), logged()) for _ in range(3)]
    async with locked(location):
        started = time.monotonic()
        outcomes = await asyncio.gather(*(store.log.create(commit) for commit in commits), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
        with pytest.raises(Unavailable):
            await store.agents.insert(agent())
        assert time.monotonic() - started < 3
    for commit in commits:
        await store.log.create(commit)  # none of them had been written
    await store.agents.insert(agent())
    await store.close()


async def every_failure(store: SqlStore) -> list[str]:
    """What each kind of call says, by class name."""
    (name, row) = (SessionId("sesn_1"), MeterRow("k", SessionId("s"), MeterKind.TOOL_CALL, "bash", T0))
    calls = [
        store.ping(),
        store.agents.get("agent_1"),
        store.agents.insert(agent()),
        store.agents.list(Listing()),
        store.environments.insert(environment()),
        store.sessions.list(SessionListing()),
        store.sessions.events(name, EventListing()),
        store.log.load(name),
        store.log.create(step(Lease(1, "one", 1), session(), logged())),
        store.log.delete(Lease(1, "one", 1), name),
        store.log.unfinished([1]),
        store.log.deleted([1]),
        store.log.forget_deleted(name),
        store.leases.join("two", ttl=1),
        store.leases.claim("one", 1, [1], ttl=1),
        store.leases.renew("one", 1, ttl=1),
        store.leases.release("one", 1, [1]),
        store.leases.leave("one", 1),
        store.leases.table(),
        store.meter.flush(),
    ]
    await store.meter.record([row])
    return [type(outcome).__name__ for outcome in await asyncio.gather(*calls, return_exceptions=True)]


async def test_a_server_that_is_gone_is_unavailable_and_its_return_is_noticed(
    postgres: PostgresServer, postgres_database: str
) -> None:
    store = await open_store(postgres_database, deadline=1)
    lease = await claimed(store, ttl=3600)
    commit = step(lease, session(), logged())
    postgres.stop()
    try:
        assert set(await every_failure(store)) == {"Unavailable"}
        with pytest.raises(Unavailable):
            await open_store(postgres_database, deadline=1)
    finally:
        postgres.start()
    await store.ping()
    await store.log.create(commit)
    (total,) = await store.meter.totals()
    assert total.count == 1
    await store.close()


@pytest.mark.parametrize("change", ["database=absent", "user=absent"])
async def test_a_server_that_turns_us_away_is_unavailable_at_once(postgres: PostgresServer, change: str) -> None:
    url = postgres.url("absent") if change == "database=absent" else f"{postgres.url('postgres')}&{change}"
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable, match="refuses"):
            await open_store(url, deadline=600)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "hecaton.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable):
        await open_store(path)
    with pytest.raises(Unavailable):
        await open_store(tmp_path)
