"""Claim: the log costs little over the bare database, on SQLite and on PostgreSQL.

Falsified when many writers together get less than 60 % of the bare database's group-commit throughput, or when
a lone append of one event takes more than twice the bare commit (p50). The bare database writes the same rows into the
same tables with plain driver code (``raw_log``), as many per transaction as the log did, in the same run and in turns
with it; it checks nothing and encodes nothing. Every commit is durable on both sides.

Also: resuming a session of 10 000 events within 1 s, and pages of a history that cost the same everywhere
(``log_history``).

Run: ``python -m benchmarks.bench_log [directory] [--store NAME] [--rounds N] [--json FILE]``. The directory decides
which disk SQLite is measured on; PostgreSQL runs in the temporary directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from agents.sessions.log import Commit, Lease
from agents.store.batch import Kind, change_of
from agents.store.database import SqlStore
from agents.store.event_log import BATCH
from benchmarks.log_history import PAGE_RATIO, RESUME_SECONDS, measure_history
from benchmarks.log_sessions import STORES, commits, databases, leased, session
from benchmarks.raw_log import RawLog, open_raw
from benchmarks.samples import ratio_of_medians

LONE = 100
EACH = 20
GROUPS = (32, 256)
LEAST_SHARE = 0.6
MOST_LONE = 2.0


async def created(store: SqlStore, lease: Lease, sessions: int, each: int, events: int) -> list[list[Commit]]:
    """New sessions, and the commits that shall follow in each."""
    records = [session() for _ in range(sessions)]
    await asyncio.gather(*(store.log.create(Commit(lease, 0, record)) for record in records))
    return [commits(lease, record, each, events) for record in records]


async def log_lone(store: SqlStore, lease: Lease, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds of each append of one event, one after the other."""
    took: list[float] = []
    for commit in (await created(store, lease, 1, LONE, 1))[0]:
        began = clock()
        await store.log.append(commit)
        took.append(clock() - began)
    return took


async def raw_lone(raw: RawLog, store: SqlStore, lease: Lease) -> list[float]:
    took: list[float] = []
    for commit in (await created(store, lease, 1, LONE, 1))[0]:
        changes = [change_of(Kind.APPEND, commit)]
        began = time.perf_counter()
        await raw.commit(changes)
        took.append(time.perf_counter() - began)
    return took


async def log_group(
    store: SqlStore, lease: Lease, writers: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds per commit of *writers* sessions that all append at once."""
    work = await created(store, lease, writers, EACH, 2)

    async def write(own: Sequence[Commit]) -> None:
        for commit in own:
            await store.log.append(commit)

    began = clock()
    await asyncio.gather(*(write(own) for own in work))
    return (clock() - began) / (writers * EACH)


async def raw_group(raw: RawLog, store: SqlStore, lease: Lease, writers: int) -> float:
    """The same commits, as many per transaction as the log can take."""
    work = await created(store, lease, writers, EACH, 2)
    changes = [change_of(Kind.APPEND, own[n]) for n in range(EACH) for own in work]
    size = min(writers, BATCH)
    began = time.perf_counter()
    for start in range(0, len(changes), size):
        await raw.commit(changes[start : start + size])
    return (time.perf_counter() - began) / len(changes)


async def measure(log_at: str, raw_at: str, rounds: int) -> dict[str, Any]:
    """Both sides in turns; samples in seconds per commit."""
    lone: dict[str, list[float]] = {"log": [], "raw": []}
    groups = {writers: {"log": list[float](), "raw": list[float]()} for writers in GROUPS}
    async with leased(log_at) as (store, lease), leased(raw_at) as (prepared, other):
        raw = await open_raw(raw_at)
        await raw_lone(raw, prepared, other)
        await log_lone(store, lease)
        for _ in range(rounds):
            lone["raw"] += await raw_lone(raw, prepared, other)
            lone["log"] += await log_lone(store, lease)
            for writers, samples in groups.items():
                samples["raw"].append(await raw_group(raw, prepared, other, writers))
                samples["log"].append(await log_group(store, lease, writers))
        await raw.close()
        history = await measure_history(store, lease)
    return {"lone": lone, "groups": groups, "history": history}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report; ``ratio`` with its bounds is held against ``limit``."""

    store: str
    what: str
    bare: str
    log: str
    ratio: tuple[float, float, float]
    limit: float
    at_least: bool = False

    @property
    def missed(self) -> bool:
        return self.ratio[0] < self.limit if self.at_least else self.ratio[0] > self.limit


def figures(store: str, measured: dict[str, Any]) -> Iterator[Figure]:
    def milliseconds(samples: list[float]) -> str:
        return f"{statistics.median(samples) * 1000:.2f} ms"

    def rate(samples: list[float]) -> str:
        return f"{1 / statistics.median(samples):.0f}/s"

    raw, log = measured["lone"]["raw"], measured["lone"]["log"]
    yield Figure(store, "one append", milliseconds(raw), milliseconds(log), ratio_of_medians(log, raw), MOST_LONE)
    for writers, sides in measured["groups"].items():
        raw, log = sides["raw"], sides["log"]
        share = ratio_of_medians(raw, log)
        yield Figure(store, f"{writers} writers", rate(raw), rate(log), share, LEAST_SHARE, at_least=True)
    resume = measured["history"]["resume"]
    seconds = (statistics.median(resume), min(resume), max(resume))
    yield Figure(store, "resume 10 000 events (s)", "", milliseconds(resume), seconds, RESUME_SECONDS)
    for name, (near, far) in measured["history"]["pages"].items():
        ratio = ratio_of_medians(far, near)
        yield Figure(store, f"page {name}: at 100, 100 000", milliseconds(near), milliseconds(far), ratio, PAGE_RATIO)


def report(results: dict[str, dict[str, Any]]) -> list[str]:
    """Print a table; returns what was missed."""
    table = Table("store", "what", "bare", "log", "ratio", "limit")
    lines = [figure for store, measured in results.items() for figure in figures(store, measured)]
    for line in lines:
        value, low, high = line.ratio
        limit = f"{'>=' if line.at_least else '<='} {line.limit:g}{'  MISSED' if line.missed else ''}"
        table.add_row(line.store, line.what, line.bare, line.log, f"{value:.2f} ({low:.2f}-{high:.2f})", limit)
    Console(width=120).print(table)
    return [f"{line.store}: {line.what}" for line in lines if line.missed]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the log against the bare database.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path())
    parser.add_argument("--store", choices=STORES, action="append")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    for store in options.store or STORES:
        with databases(store, options.directory, ("log", "raw")) as (log_at, raw_at):
            results[store] = uvloop.run(measure(log_at, raw_at, options.rounds))
    if options.json:
        options.json.write_text(json.dumps(results))
    return 1 if report(results) else 0


if __name__ == "__main__":
    sys.exit(main())
