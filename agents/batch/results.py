"""The results of a batch as one Parquet file: a row for each task, by line; all of it is there, or no file is."""

from __future__ import annotations

import importlib
import os
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from agents.batch.journal import Journal
from agents.disk import sync_directory

# Without types of their own: taken as what they are.
pa: Any = importlib.import_module("pyarrow")
pq: Any = importlib.import_module("pyarrow.parquet")
_MOMENT = pa.timestamp("ms", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("stop_reason", pa.string()),
        pa.field("error_type", pa.string()),
        pa.field("error", pa.string()),
        pa.field("evaluation", pa.string()),
        pa.field("session", pa.string()),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("began_at", _MOMENT, nullable=False),
        pa.field("ended_at", _MOMENT, nullable=False),
        pa.field("duration_seconds", pa.float64(), nullable=False),
        pa.field("active_seconds", pa.float64(), nullable=False),
        pa.field("model_requests", pa.int64(), nullable=False),
        pa.field("tool_calls", pa.int64(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("cache_read_input_tokens", pa.int64(), nullable=False),
        pa.field("cache_creation_input_tokens", pa.int64(), nullable=False),
        pa.field("cost_usd", pa.decimal128(18, 6), nullable=False),
    ]
)
"""docs/batch.md tells what the columns mean."""
_MICRO = Decimal(1_000_000)


def write_results(journal: Journal, file: Path) -> None:
    """Write every row of a finished batch to *file*, in place of what was there. Raises OSError."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}.new")
    about = {name: value for name, value in journal.meta().items() if name in ("batch", "tasks", "tasks_digest")}
    schema = SCHEMA.with_metadata({f"hecaton.{name}": value for name, value in about.items()})
    try:
        with scratch.open("wb") as out:
            with pq.ParquetWriter(out, schema, compression="zstd") as writer:
                for page in journal.rows():
                    writer.write_table(_table(page, schema))
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)
    sync_directory(file.parent)


def _table(page: Sequence[sqlite3.Row], schema: Any) -> Any:
    return pa.Table.from_pylist([_row(row) for row in page], schema=schema)


def _row(row: sqlite3.Row) -> dict[str, Any]:
    fields = dict(row)
    fields["began_at"], fields["ended_at"] = (datetime.fromtimestamp(row[name], UTC) for name in ("began", "ended"))
    fields["duration_seconds"] = max(row["ended"] - row["began"], 0.0)
    fields["cost_usd"] = Decimal(row["cost_micro_usd"]) / _MICRO
    return {name: fields[name] for name in SCHEMA.names}
