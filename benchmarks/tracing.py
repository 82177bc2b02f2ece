"""CPU that tracing takes by itself, in one process: steady also on a machine that others use.

The commits of turns with one tool call become spans, all of which are kept and written to a trace store.

Run: ``python -m benchmarks.tracing``.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agents.config import Settings
from agents.sessions.events import SessionRecord
from agents.telemetry.tracing.process_tracing import ProcessTracing
from benchmarks.counting import OneToolTurn

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
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
    record = SessionRecord(
        id="sesn_1", partition=1, created_at=_NOW, updated_at=_NOW, agent={"name": "a", "model": {"id": "m"}},
        agent_id="agent_1", agent_version=1, environment_id="env_1", environment={}, thread_id="sthr_1",
    )  # fmt: skip
    made = OneToolTurn()
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
