"""Claim: the chain of each session's log (docs/audit.md) costs appends at most 10 % of their throughput.

The same commits go through two logs on two databases, in turns in one run: one log as it is, the other without its
chain (its rows have no link, and nothing is noted for a seal). Falsified when the median of the rounds' ratios is above
1.10, for a lone append or for many writers. No seal is made meanwhile: it is one transaction a minute.

With ``--cpu`` the processor time of this process is counted instead of the wall's: less depends on who else uses the
machine, and nothing is told of the database's server.

Run: ``python -m benchmarks.bench_audit [directory] [--store NAME] [--rounds N] [--cpu]``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import uvloop

from agents.store.database import SqlStore
from benchmarks.bench_log import created, log_group, log_lone
from benchmarks.log_sessions import STORES, databases, leased

MOST = 1.10
WRITERS = (32, 256)


class _NoChain:
    """Takes every change as it is."""

    def linked(self, change: object) -> bool:
        return True

    def take_back(self, change: object) -> None: ...

    def forget(self, session_id: str) -> None: ...


def unchained(store: SqlStore) -> SqlStore:
    """Take the chain out of a store's log."""
    log = cast(Any, store.log)
    log._chain, log._sealer = _NoChain(), None
    return store


async def measure(
    with_at: str, without_at: str, rounds: int, clock: Callable[[], float]
) -> dict[str, list[tuple[float, float]]]:
    """Seconds per commit, with and without, of each round."""
    found: dict[str, list[tuple[float, float]]] = {}
    async with leased(with_at) as (store, lease), leased(without_at) as (bare, other):
        unchained(bare)
        await created(store, lease, 1, 1, 1)
        for number in range(rounds + 1):
            sides = (store, lease), (bare, other)
            lone, lone_bare = [statistics.median(await log_lone(*side, clock)) for side in sides]
            groups = [[await log_group(*side, writers, clock) for side in sides] for writers in WRITERS]
            if number:  # the first is for warming up
                found.setdefault("lone append", []).append((lone, lone_bare))
                for writers, (group, group_bare) in zip(WRITERS, groups, strict=True):
                    found.setdefault(f"{writers} writers", []).append((group, group_bare))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=Path("/tmp"))
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpu", action="store_true")
    asked = parser.parse_args()
    clock = time.process_time if asked.cpu else time.perf_counter
    with databases(asked.store, asked.directory, ("with", "without")) as (with_at, without_at):
        found = uvloop.run(measure(with_at, without_at, asked.rounds, clock))
    worst = 0.0
    for name, pairs in found.items():
        ratio = statistics.median(one / other for one, other in pairs)
        one, other = (statistics.median(each) * 1e6 for each in zip(*pairs, strict=True))
        print(f"{asked.store} {name}: {one:.1f} us with, {other:.1f} us without, ratio {ratio:.3f}")
        worst = max(worst, ratio)
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
