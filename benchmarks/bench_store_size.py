"""Claim: what a store holds does not slow down looking things up in it.

Falsified when the median of a listing or a look-up in a store with 100 000 sessions and 10 million events is more than
twice that in a store with 100 sessions, on SQLite or on PostgreSQL. Both stores are asked in turns, in the same run,
and have been asked for the same sessions once before: what a disk takes for pages that nobody has read lately is shown
beside, and not held to the claim.
The large one is one session written by the log and copied inside the database, with times that are apart.

Run: ``python -m benchmarks.bench_store_size [directory] [--store NAME] [--sessions N] [--events N] [--json FILE]``;
``--events`` is per session. The full size takes about 10 GB of disk on each database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import Column, Integer, MetaData, Text, cast, insert, literal, literal_column, select, text
from sqlalchemy import Table as SqlTable
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from agents.ids import SessionId
from agents.sessions.log import Commit
from agents.store.database import SqlStore, open_store
from agents.store.ports import EventListing, SessionListing
from agents.store.tables.log import events, session_snapshots, sessions
from benchmarks.log_history import turns
from benchmarks.log_sessions import STORES, databases, leased, session

SMALL = 100
ROUNDS = 200
MOST = 2.0
PER_STATEMENT = 1000
COLD = "retrieve, for the first time"
"""Of the large store the pages may be on the disk only."""
FIRST = 10_000_000
"""Numbers of copies begin here, so that all have as many digits."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One store, and a session of it for each round."""

    store: SqlStore
    chosen: list[SessionId]
    middle: tuple[Any, str]
    """Where a page in the middle of all sessions begins."""


async def filled(where: str, count: int, each: int, told: Callable[[int], None]) -> None:
    """Write one session of so many events by the log, and copy it until there are *count*."""
    async with leased(where) as (store, lease):
        record, written = session(), turns(each)[:each]
        await store.log.create(Commit(lease, 0, record))
        await store.log.append(Commit(lease, 0, replace(record, seq=each), tuple(written)))
    url = where if "://" in where else f"sqlite+aiosqlite:///{where}"
    engine = create_async_engine(url)
    try:
        for start in range(1, count, PER_STATEMENT):
            async with engine.begin() as connection:
                await copied(connection, record.id, start, min(start + PER_STATEMENT, count))
            told(min(start + PER_STATEMENT, count))
        async with engine.connect() as connection:
            # What a database does by itself in time.
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE"))
    finally:
        await engine.dispose()


async def copied(connection: AsyncConnection, origin: str, start: int, end: int) -> None:
    """Copy the session and its events under the numbers from *start* up to *end*."""
    numbers = SqlTable("numbers", MetaData(), Column("n", Integer), prefixes=["TEMPORARY"])
    await connection.run_sync(numbers.create)
    await connection.execute(insert(numbers), [{"n": n} for n in range(start, end)])
    n = numbers.c.n
    name = literal("sesn_bench") + cast(literal_column(str(FIRST)) + n, Text)
    changes: dict[SqlTable, dict[str, Any]] = {
        sessions: {"id": name, "created_at": sessions.c.created_at + n * 1000},
        session_snapshots: {"session_id": name},
        events: {
            "session_id": name,
            "id": literal("sevt_bench") + cast(literal_column(str(FIRST)) + n, Text) + "x" + cast(events.c.seq, Text),
        },
    }
    for table, change in changes.items():
        key = table.c.id if table is sessions else table.c.session_id
        columns = [column.name for column in table.columns]
        source = select(*(change.get(column, table.c[column]) for column in columns))
        # A session's events lie together, as when sessions come one after the other.
        order = (n, events.c.seq) if table is events else (n,)
        source = source.select_from(table.join(numbers, n > 0)).where(key == origin).order_by(*order)
        await connection.execute(insert(table).from_select(columns, source))
    await connection.run_sync(numbers.drop)


async def asked(where: str, count: int) -> Asked:
    store = await open_store(where)
    rng = random.Random(0)  # the same sessions in every run
    chosen = [SessionId(f"sesn_bench{FIRST + rng.randrange(1, count)}") for _ in range(ROUNDS)]
    middle = await store.sessions.get(SessionId(f"sesn_bench{FIRST + count // 2}"))
    return Asked(store, chosen, (middle.created_at, middle.id))


def questions(at: Asked, number: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is asked in each round, by name."""
    sessions, chosen = at.store.sessions, at.chosen[number]
    later = at.middle[0] + timedelta(microseconds=number)
    return {
        "list, newest first": lambda: sessions.list(SessionListing(workspace_id="default", limit=20)),
        "list, after a cursor": lambda: sessions.list(
            SessionListing(workspace_id="default", limit=20, after=(later, at.middle[1]))
        ),
        "list, of an agent": lambda: sessions.list(
            SessionListing(workspace_id="default", limit=20, agent_id="agent_1")
        ),
        "list, of a status": lambda: sessions.list(
            SessionListing(workspace_id="default", limit=20, statuses=("idle",))
        ),
        "list, of a status that none has": lambda: sessions.list(
            SessionListing(workspace_id="default", limit=20, statuses=("running",))
        ),
        "retrieve": lambda: sessions.get(chosen),
        "events, oldest first": lambda: sessions.events(chosen, EventListing(limit=20)),
        "events, newest first": lambda: sessions.events(chosen, EventListing(limit=20, order="desc")),
        "events, of a type": lambda: sessions.events(chosen, EventListing(limit=20, types=("agent.message",))),
    }


async def measured(small: Asked, large: Asked) -> dict[str, dict[str, list[float]]]:
    """Seconds of each question to each store, in turns."""
    took: dict[str, dict[str, list[float]]] = {}

    async def timed(name: str, size: str, ask: Callable[[], Awaitable[object]]) -> None:
        began = time.perf_counter()
        await ask()
        took.setdefault(name, {}).setdefault(size, []).append(time.perf_counter() - began)

    sizes = {"small": small, "large": large}
    for number in range(ROUNDS):
        for size, at in sizes.items():
            await timed(COLD, size, lambda at=at, number=number: at.store.sessions.get(at.chosen[number]))
    for number in range(ROUNDS):
        for size, at in sizes.items():
            for name, ask in questions(at, number).items():
                await timed(name, size, ask)
    return took


async def run(store: str, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    with databases(store, options.directory, ("small", "large")) as places, Progress(console=console) as progress:
        small, large = places
        began = time.perf_counter()
        await filled(small, SMALL, options.events, lambda _: None)
        task = progress.add_task(f"{store}: {options.sessions} sessions", total=options.sessions)
        await filled(large, options.sessions, options.events, lambda done: progress.update(task, completed=done))
        seconds = time.perf_counter() - began
        both = [await asked(small, SMALL), await asked(large, options.sessions)]
        try:
            return {"fill_seconds": seconds, "took": await measured(*both)}
        finally:
            for each in both:
                await each.store.close()


def shown(store: str, took: dict[str, dict[str, list[float]]], console: Console) -> bool:
    """Print the medians; returns whether the claim holds."""
    table = Table("what", "small, ms", "large, ms", "ratio", title=store)
    worst = 0.0
    for name, both in took.items():
        small, large = (1000 * statistics.median(both[size]) for size in ("small", "large"))
        worst = max(worst, 0.0 if name == COLD else large / small)
        table.add_row(name, f"{small:.2f}", f"{large:.2f}", f"{large / small:.2f}")
    console.print(table)
    return worst <= MOST


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(), help="disk that SQLite is measured on")
    parser.add_argument("--store", choices=STORES, help="one database only")
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=100, help="per session")
    parser.add_argument("--json", type=Path, help="write the raw samples there")
    options = parser.parse_args()
    console, results, held = Console(), {}, True
    for store in [options.store] if options.store else STORES:
        results[store] = asyncio.run(run(store, options, console))
        held &= shown(store, results[store]["took"], console)
    if options.json:
        options.json.write_text(json.dumps({**vars(options), "results": results}, default=str), encoding="utf-8")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
