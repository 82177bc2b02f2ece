"""Which of an experiment's sessions the figures look at, so that a long run fits into memory and onto a page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.experiments.trace_rows import TraceRow

_SPACE = 2**64


@dataclass(frozen=True, slots=True)
class Sample:
    """Whole sessions, each request in every topology or in none, so that pairs stay together."""

    rows: Sequence[TraceRow]
    share: float = 1.0
    """Share of all sessions that these are; what is counted is divided by it."""


def sample(rows: Iterable[TraceRow], most: int = 400_000) -> Sample:
    """Keep *rows* while they are at most *most*, else every second, fourth, ... request's; the same ones each time.

    One pass, with no more than *most* rows in memory: requests are kept by a hash of what names them, and the bound on
    it is halved whenever the rows become too many.
    """
    kept: list[tuple[int, TraceRow]] = []
    bound = _SPACE
    for row in rows:
        lot = _lot(row)
        if lot >= bound:
            continue
        kept.append((lot, row))
        while len(kept) > most:
            bound //= 2
            kept = [each for each in kept if each[0] < bound]
    return Sample([row for _, row in kept], bound / _SPACE)


def _lot(row: TraceRow) -> int:
    name = f"{row.workload}/{row.arrivals}/{row.load!r}/{row.round}/{row.request}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
