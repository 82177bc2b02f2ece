"""CPU that tracing takes by itself, in one process: steady also on a machine that others use.

The commits of turns with one tool call become spans, all of which are kept and written to a trace store.

Run: ``python -m benchmarks.tracing``.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from agents.config import Settings
from agents.telemetry.tracing.process_tracing import ProcessTracing
from benchmarks.counting import OneToolTurn, session_of_turns

_START = 1_767_225_600_000_000


@dataclass(frozen=True, slots=True)
class TracingCost:
    """What one turn costs: CPU where its session is owned, CPU of the whole process with writing, bytes on disk."""

    owner_microseconds: float
    process_microseconds: float
    bytes_on_disk: float
    spans: float


def tracing_cost(turns: int = 3000) -> TracingCost:
    """Trace so many turns."""
    record, made = session_of_turns(), OneToolTurn()
    all_turns = [made.commits(number) for number in range(turns)]
    with tempfile.TemporaryDirectory() as folder:
        traces = {"write_seconds": 1, "max_queued_spans": 20 * turns}
        settings = Settings.model_validate({"data_dir": folder, "telemetry": {"traces": traces}})
        process, tracing = time.process_time(), ProcessTracing(settings, "hecaton-harness", "harness-0")
        session, owner = tracing.session(record.id), time.thread_time()
        for commits in all_turns:
            for events in commits:
                session.committed(record, events, _START, _START + 1000)
        owner = time.thread_time() - owner
        asyncio.run(tracing.close())
        process = time.process_time() - process
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))
        spans = tracing.figures["trace_spans"]
    return TracingCost(owner / turns * 1e6, process / turns * 1e6, size / turns, spans / turns)


if __name__ == "__main__":
    print(tracing_cost())
