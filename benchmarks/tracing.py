"""CPU that tracing takes by itself, in one process: steady also on a machine that others use.

The commits of turns with one tool call become spans, all of which are kept and written to a trace store, as many at a
time as a harness of a few sessions a second has after ``write_seconds``; small files are merged meanwhile, as they are
in a platform that runs for hours.

Run: ``python -m benchmarks.tracing``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.telemetry.tracing.log_trace import LogTrace
from agents.telemetry.tracing.sampling import Sampling
from agents.telemetry.tracing.settings import TraceSettings
from agents.telemetry.tracing.span_files import SpanFiles
from agents.telemetry.tracing.span_sink import SpanSink
from agents.telemetry.tracing.spans import Span
from benchmarks.counting import OneToolTurn, session_of_turns

_START = 1_767_225_600_000_000
_SPANS_PER_FILE = 130
_SETTINGS = TraceSettings(keep_days=3650)


@dataclass(frozen=True, slots=True)
class TracingCost:
    """What one turn costs: CPU where its session is owned, CPU of writing and merging its spans, bytes on disk."""

    owner_microseconds: float
    store_microseconds: float
    bytes_on_disk: float
    spans: float


class _Kept:
    """Takes the place of the queue to the store."""

    dropped = failed = 0

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def put(self, spans: Sequence[Span]) -> None:
        self.spans += spans


def tracing_cost(turns: int = 15_000) -> TracingCost:
    """Trace so many turns."""
    record, made, kept = session_of_turns(), OneToolTurn(), _Kept()
    session = LogTrace(record.id, SpanSink(Sampling.of(_SETTINGS), [kept], most=_SETTINGS.max_spans_per_turn))
    owner = 0.0
    for number in range(turns):
        commits = made.commits(number)
        began = time.thread_time()
        for events in commits:
            session.committed(record, events, _START, _START + 1000)
        owner += time.thread_time() - began
    with tempfile.TemporaryDirectory() as folder:
        files, spans = SpanFiles(Path(folder), _SETTINGS, "hecaton-harness", "harness-0"), kept.spans
        files(spans[:1])  # loads what writes
        began = time.process_time()
        for first in range(0, len(spans), _SPANS_PER_FILE):
            files(spans[first : first + _SPANS_PER_FILE])
        store = time.process_time() - began
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))
    return TracingCost(owner / turns * 1e6, store / turns * 1e6, size / turns, len(spans) / turns)


if __name__ == "__main__":
    print(tracing_cost())
