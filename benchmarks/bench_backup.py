"""Claim: backing a store up, and restoring it, takes at most 5 times the processor time of copying its bytes.

A SQLite store with so many events (a million: 1.2 GB) is backed up in each form and restored from it; right before
each its file is copied plainly, in pieces and with fsync. Falsified when the median of the rounds' ratios is above 5
for a backup without compression, or its restore. Told beside: seconds of the clock, compressed ones, single stages.

Run: ``python -m benchmarks.bench_backup [directory] [--events N] [--rounds N]``; the disk needs 5 times the store.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agents.backup.archive import PIECE_BYTES, writing
from agents.backup.database_copy import copy_sqlite, facts_of_sqlite
from agents.backup.making import SQLITE_NAME, BackupOrder, make_backup
from agents.backup.restoring import RestoreOrder, restore_backup
from agents.clock import SystemClock
from agents.config import Settings
from agents.store.database import open_store

MOST = 5.0
FORMS = ("backup", "backup.tar", "backup.tar.gz")
_JUDGED = FORMS[:2]
_EVENTS_OF_A_SESSION = 200
_BODY_CHARS = 700
_SESSION = (
    "INSERT INTO sessions (id, partition, status, seq, queued, created_at, updated_at, agent_id, agent_version,"
    " environment_id, digest, state) VALUES (?, 1, 'idle', ?, 0, 0, 0, 'agent_1', 1, 'env_1', '', '{}')"
)
_EVENT = (
    "INSERT INTO events (session_id, seq, id, type, processed_at, body, link)"
    " VALUES (?, ?, ?, 'agent.message', 0, ?, ?)"
)


def made_store(data_dir: Path, events: int) -> Settings:
    """Fill a data directory; texts are of random words, which pack about as talk does."""

    async def empty() -> None:
        await (await open_store(data_dir / SQLITE_NAME)).close()

    asyncio.run(empty())
    dice = random.Random(1)
    words = ["".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 9))) for _ in range(5000)]

    def rows(session: str) -> Iterator[tuple[object, ...]]:
        for seq in range(1, _EVENTS_OF_A_SESSION + 1):
            said = " ".join(dice.choices(words, k=_BODY_CHARS // 6))
            body = f'{{"content":[{{"type":"text","text":"{said}"}}]}}'
            yield session, seq, f"sevt_{dice.getrandbits(120):030x}", body, f"{dice.getrandbits(256):064x}"

    with closing(sqlite3.connect(data_dir / SQLITE_NAME)) as connection, connection:
        for number in range(max(1, events // _EVENTS_OF_A_SESSION)):
            session = f"sesn_{number:026}"
            connection.execute(_SESSION, (session, _EVENTS_OF_A_SESSION))
            connection.executemany(_EVENT, rows(session))
    return Settings(data_dir=data_dir)


def plain_copy(source: Path, target: Path) -> None:
    """Copy a file as a backup has to at least: read it, write it, have it on the disk."""
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written, PIECE_BYTES)
        written.flush()
        os.fsync(written.fileno())


@dataclass(slots=True)
class Step:
    """What one piece of work took, round for round; ``ratios`` are to a plain copy's processor seconds."""

    wall: list[float] = field(default_factory=lambda: [])
    cpu: list[float] = field(default_factory=lambda: [])
    ratios: list[float] = field(default_factory=lambda: [])


class Round:
    """Measures steps, each right after a plain copy of the same bytes: what else the machine does meets both."""

    def __init__(self, source: Path, place: Path, found: dict[str, Step]) -> None:
        self._source = source
        self._copy = place / "copy"
        self._found = found

    def note(self, name: str, work: Callable[[], object]) -> None:
        _, copied = _timed(lambda: plain_copy(self._source, self._copy))
        wall, cpu = _timed(work)
        step = self._found.setdefault(name, Step())
        step.wall.append(wall)
        step.cpu.append(cpu)
        step.ratios.append(cpu / copied)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(settings: Settings, place: Path, found: dict[str, Step]) -> None:
    """Note one round."""
    source = settings.database_file
    each = Round(source, place, found)
    each.note("plain copy", lambda: plain_copy(source, place / "another"))
    for form in FORMS:
        order = BackupOrder(settings, place / form)
        each.note(f"{form}: make", partial(make_backup, order, SystemClock(), lambda what, size: None))
        back = RestoreOrder(place / form, Settings(data_dir=place / f"restored-{form}"))
        each.note(f"{form}: restore", partial(restore_backup, back, lambda what, size: None))
        shutil.rmtree(back.settings.data_dir)
    copy = place / "stage.db"
    each.note("stage: SQLite's copy", lambda: copy_sqlite(source, copy))
    each.note("stage: check, and facts", lambda: facts_of_sqlite(copy))
    for form in FORMS:
        each.note(f"stage: into {form}", partial(_packed, copy, place / f"stage-{form}"))


def _packed(file: Path, place: Path) -> None:
    with writing(place) as archive, file.open("rb") as source:
        archive.add(file.name, source, file.stat().st_size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=Path(tempfile.gettempdir()))
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, Step] = {}
    with tempfile.TemporaryDirectory(prefix="hecaton-bench-backup-", dir=asked.directory) as root:
        (data := Path(root) / "data").mkdir()
        settings = made_store(data, asked.events)
        size = (data / SQLITE_NAME).stat().st_size
        print(f"{asked.events} events, {size / 1e9:.2f} GB, load average {os.getloadavg()[0]:.1f}")
        for _ in range(asked.rounds):
            with tempfile.TemporaryDirectory(dir=root) as place:
                measure(settings, Path(place), found)
    worst = 0.0
    for name, step in found.items():
        ratio, wall, cpu = (statistics.median(each) for each in (step.ratios, step.wall, step.cpu))
        print(
            f"{name:28} {wall:7.2f} s  {cpu:7.2f} s of CPU  {size / wall / 1e6:6.0f} MB/s  {ratio:6.2f} x a plain copy"
        )
        if name.partition(":")[0] in _JUDGED:
            worst = max(worst, ratio)
    print("the claim stands" if worst <= MOST else "the claim is falsified")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
