"""Claim: on SQLite the log takes at least 1500 commits/s from 32 writers, and a lone append at most 1.5 ms (p50).

A commit here is what an agent's turn makes four of: two events of about 400 bytes and the session's
row. The floor is the bare ``sqlite3`` module doing the same inserts and update, synchronous=FULL, one
transaction per commit (lone) or per 32 commits (grouped), with no checks and no second index.

Run: python benchmarks/bench_log.py [directory or postgresql+asyncpg:// URL]
The directory decides which disk is measured; with a URL only the log is measured, not the floor.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agents import ids
from agents.sessions.events import Event, EventType, SessionRecord
from agents.sessions.log import Commit, Lease
from agents.store.database import SqlStore, open_store

LONE = 1000
WRITERS = 32
EACH = 200
ROUNDS = 3
TEXT = {"content": [{"type": "text", "text": "x" * 350}]}
STATE = "s" * 400


def session() -> SessionRecord:
    now = datetime.now(UTC)
    return SessionRecord(
        id=ids.new_session_id(),
        partition=0,
        created_at=now,
        updated_at=now,
        agent={"name": "bench", "system": "You are a helpful agent. " * 120},
        agent_id="agent_1",
        agent_version=1,
        environment_id="env_1",
        environment={"config": {"type": "cloud"}},
        thread_id=ids.new_thread_id(),
    )


def next_commit(lease: Lease, record: SessionRecord) -> Commit:
    now = datetime.now(UTC)
    events = tuple(Event(ids.new_event_id(), EventType.AGENT_MESSAGE, TEXT, now) for _ in range(2))
    return Commit(lease, record.seq, replace(record, seq=record.seq + 2, updated_at=now), events)


async def append(store: SqlStore, lease: Lease, count: int) -> list[float]:
    """Append *count* times to a new session; returns the seconds of each."""
    record, took = session(), list[float]()
    await store.log.create(Commit(lease, 0, record))
    for _ in range(count):
        commit = next_commit(lease, record)
        started = time.perf_counter()
        await store.log.append(commit)
        took.append(time.perf_counter() - started)
        record = commit.record
    return took


async def measure_log(where: str | Path) -> None:
    store = await open_store(where)
    name = f"bench-{ids.new_request_id()}"
    generation = await store.leases.join(name, ttl=3600)
    (lease,) = await store.leases.claim(name, generation, [0], ttl=3600)
    try:
        await append(store, lease, 50)
        for _ in range(ROUNDS):
            lone = sorted(await append(store, lease, LONE))
            started = time.perf_counter()
            writers = await asyncio.gather(*(append(store, lease, EACH) for _ in range(WRITERS)))
            rate = WRITERS * (EACH + 1) / (time.perf_counter() - started)
            report("log", lone, rate, sorted(itertools.chain.from_iterable(writers)))
    finally:
        await store.leases.leave(name, generation)
        await store.close()


def measure_floor(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "CREATE TABLE session (id TEXT PRIMARY KEY, seq INTEGER, state TEXT)",
        "CREATE TABLE event (session TEXT, seq INTEGER, id TEXT, body TEXT, PRIMARY KEY (session, seq))",
    ):
        connection.execute(statement)
    names = [ids.new_session_id() for _ in range(WRITERS)]
    connection.executemany("INSERT INTO session VALUES (?, 0, ?)", [(name, STATE) for name in names])
    places = dict.fromkeys(names, 0)

    def commit(group: list[ids.SessionId]) -> None:
        rows: list[tuple[str, int, str, str]] = []
        for name in group:
            rows += [(name, places[name] + n, ids.new_event_id(), STATE) for n in (1, 2)]
            places[name] += 2
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE session SET seq = ?, state = ? WHERE id = ?", [(places[n], STATE, n) for n in group]
        )
        connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")

    for _ in range(ROUNDS):
        lone = sorted(timed(lambda: commit(names[:1])) for _ in range(LONE))
        grouped = [timed(lambda: commit(names)) for _ in range(EACH)]
        report("floor", lone, WRITERS * EACH / sum(grouped), sorted(grouped))
    connection.close()


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def report(what: str, lone: list[float], rate: float, grouped: list[float]) -> None:
    def at(values: list[float], share: float) -> str:
        return f"{values[int(share * (len(values) - 1))] * 1000:7.3f}"

    print(
        f"{what:6} lone p50 {statistics.median(lone) * 1000:7.3f} ms  p99 {at(lone, 0.99)} ms   "
        f"{WRITERS} writers {rate:8.0f} commits/s  p50 {at(grouped, 0.5)} ms  p99 {at(grouped, 0.99)} ms"
    )


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else "."
    if "://" in where:
        asyncio.run(measure_log(where))
        return
    with tempfile.TemporaryDirectory(dir=where, prefix=".bench-log-") as folder:
        measure_floor(Path(folder) / "floor.db")
        asyncio.run(measure_log(Path(folder) / "log.db"))


if __name__ == "__main__":
    main()
