"""The trace of an experiment: a row for each session, inference, tool call, state update and fault, as Parquet.

All moments are seconds since the round began. What an open loop was to begin at ``due`` counts from there, whenever it
was really begun: else a platform that cannot keep up would be asked less and look the faster (coordinated omission,
Tene 2013). Rows of two topologies belong together when workload, arrivals, load, round and request agree.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

Kind = Literal["session", "inference", "tool_call", "state_update", "fault"]
UNFINISHED = "unfinished"
"""The outcome of what did not end within the round's patience."""

_GROUP = 10_000
"""Rows in memory, at most, and in one row group of the file."""


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One thing that was done for one request of an experiment."""

    kind: Kind
    topology: str
    """Which of the experiment's ways to run it: ``decoupled``, ``monolith``, or the name of an ablation."""
    workload: str
    arrivals: str
    load: float
    """What was offered: sessions per second of an open loop, sessions under way of a closed one."""
    round: int
    request: int
    """Its place among the round's arrivals; the same number is the same request in every topology."""
    session: str
    name: str
    """Of a session its workload's script, of an inference the brain's id, of a tool call the tool, of a state update
    the event's type."""
    due: float
    """When it should have begun: a session's arrival, else when it was asked for."""
    began: float
    """When it began: a session was sent, an inference left, a tool was dispatched."""
    first: float | None = None
    """When its first piece came: an inference's first token, a session's first text."""
    ended: float | None = None
    """When it ended; None when it did not within the round's patience."""
    outcome: str = "ok"
    """``ok``, or the error's type."""
    retries: int = 0
    """How often it was tried again by the platform or its client."""
    tokens_in: int = 0
    tokens_out: int = 0
    micro_usd: int = 0
    """Its price by the price book, in millionths of a US dollar."""
    warm_up: bool = False
    """Whether it fell into the warm-up, which no figure counts."""


class TraceWriter:
    """Writes rows to one Parquet file; a context manager, whose end makes the file whole."""

    def __init__(self, path: Path) -> None:
        self._waiting: list[TraceRow] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = _parquet().ParquetWriter(path, _schema())

    def add(self, rows: Iterable[TraceRow]) -> None:
        """Take rows in."""
        self._waiting.extend(rows)
        if len(self._waiting) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        if rows:
            self._writer.write_table(_arrow().Table.from_pylist([asdict(row) for row in rows], schema=_schema()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()


def read_rows(path: Path) -> Iterator[TraceRow]:
    """Yield the rows of a trace file, one row group in memory at a time. Raises OSError; ValueError for no trace."""
    columns = [field.name for field in fields(TraceRow)]
    with _parquet().ParquetFile(path) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            raise ValueError(f"{path} is no trace of an experiment: it has no column {', '.join(sorted(missing))}")
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                yield TraceRow(**row)


def _schema() -> Any:
    arrow = _arrow()
    types = {"float": arrow.float64(), "float | None": arrow.float64(), "int": arrow.int64(), "bool": arrow.bool_()}
    return arrow.schema([(field.name, types.get(str(field.type), arrow.string())) for field in fields(TraceRow)])


# Loaded late, for it takes its time, and behind functions, for it has no types.


def _arrow() -> Any:
    return importlib.import_module("pyarrow")


def _parquet() -> Any:
    return importlib.import_module("pyarrow.parquet")
