"""The trace store: Parquet files, a folder for each day (UTC), bounded by age and size.

A file comes to its name whole and is never changed. Many small ones are merged into one, which is there before they go:
a span may be in two files for a moment, and who reads counts it once, by its id. Any number of processes may write;
one at a time, which a lock in the folder sees to, tidies up. Nothing is flushed to disk by force: what a machine that
loses its power takes with it are the last seconds of its traces.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from agents.file_locks import takes
from agents.ids import new_id
from agents.telemetry.tracing import names
from agents.telemetry.tracing.settings import TraceSettings
from agents.telemetry.tracing.spans import Span, Value

logger = logging.getLogger(__name__)

_TIDY_EVERY = 12
"""Files that a process writes before it looks whether there is something to tidy up."""
_MOST_SMALL = 24
_SMALL_BYTES = (64 * 1024, 1024**2)
"""Bounds of the sizes that are merged, each with its like: a span is written again twice at most, not every minute."""
_FOR_SHORT, _FOR_LONG = "lz4", "zstd"
"""Compressions: what is merged soon has one that takes half the CPU to write and read, the rest one that is smaller."""
_WRITING = ".writing"
_ABANDONED_SECONDS = 3600.0


class SpanFiles:
    """The files of one folder, as one process writes them. Every call blocks; run it in a thread."""

    def __init__(self, folder: Path, settings: TraceSettings, service: str, instance: str) -> None:
        self._folder = folder
        self._settings = settings
        self._service = service
        self._instance = instance
        self._written = 0

    def __call__(self, spans: Sequence[Span]) -> None:
        """Write spans down, each with the day of its end. Raises OSError."""
        days: dict[date, list[Span]] = {}
        for span in spans:
            days.setdefault(datetime.fromtimestamp(span.end / 1_000_000, UTC).date(), []).append(span)
        for day, group in days.items():
            _write(self._folder / f"date={day}", span_table(group, self._service, self._instance), _FOR_SHORT)
        self._written += 1
        if self._written % _TIDY_EVERY == 0:
            try:
                self.tidy(datetime.now(UTC).date())
            except OSError as error:
                logger.warning("%s can not be tidied up: %s", self._folder, error)

    def tidy(self, today: date) -> None:
        """Remove what is too old or too much and merge small files, unless another process does. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if takes(lock, fcntl.LOCK_EX):
                self._remove_old(today)
                self._merge_small()
                self._remove_excess()
        finally:
            os.close(lock)

    def _remove_old(self, today: date) -> None:
        oldest = f"date={today - timedelta(days=self._settings.keep_days)}"
        for folder in self._days():
            if folder.name < oldest:
                for file in folder.iterdir():
                    file.unlink(missing_ok=True)
                folder.rmdir()
                continue
            for left in folder.glob(f"*{_WRITING}"):
                # One that is young is another process's, which is about to finish it.
                if datetime.now(UTC).timestamp() - left.stat().st_mtime > _ABANDONED_SECONDS:
                    left.unlink(missing_ok=True)

    def _merge_small(self) -> None:
        pa, pq = _arrow()
        for folder in self._days():
            sizes = {file: file.stat().st_size for file in sorted(folder.glob("*.parquet"))}
            for least, most in pairwise((0, *_SMALL_BYTES)):
                small = [file for file, size in sizes.items() if least <= size < most]
                if len(small) > _MOST_SMALL:
                    tables = [pq.ParquetFile(file).read(use_threads=False) for file in small]
                    _write(folder, pa.concat_tables(tables, promote_options="default"), _FOR_LONG)
                    for file in small:
                        file.unlink()

    def _remove_excess(self) -> None:
        files = [file for folder in self._days() for file in sorted(folder.glob("*.parquet"))]
        sizes = [file.stat().st_size for file in files]
        excess = sum(sizes) - self._settings.max_bytes
        for file, size in zip(files, sizes, strict=True):
            if excess <= 0:
                return
            file.unlink()
            excess -= size

    def _days(self) -> list[Path]:
        return sorted(self._folder.glob("date=*"))


def span_table(spans: Sequence[Span], service: str, instance: str) -> Any:
    """Return spans as an Arrow table with the columns of the view ``spans`` (docs/traces.md)."""
    columns: dict[str, list[Any]] = {
        "trace_id": [f"{span.trace_id:032x}" for span in spans],
        "span_id": [f"{span.span_id:016x}" for span in spans],
        "parent_id": [None if span.parent_id is None else f"{span.parent_id:016x}" for span in spans],
        "name": [span.name for span in spans],
        "kind": [span.kind for span in spans],
        "service": [span.service or service for span in spans],
        "instance": [str(span.attributes.get(names.LINK, "")) if span.service else instance for span in spans],
        "start_time": [span.start for span in spans],
        "end_time": [span.end for span in spans],
        "duration_ms": [(span.end - span.start) / 1000 for span in spans],
        "error": [span.error for span in spans],
        "attributes": [[(name, _text(value)) for name, value in span.attributes.items()] for span in spans],
    }
    for column, attribute in COLUMNS.items():
        columns[column] = [span.attributes.get(attribute) for span in spans]
    return _arrow()[0].Table.from_pydict(columns, schema=span_schema())


COLUMNS = {
    "session_id": names.CONVERSATION,
    "operation": names.OPERATION,
    "model": names.REQUEST_MODEL,
    "brain": names.BRAIN,
    "tool": names.TOOL_NAME,
    "hand": names.HAND,
    "status": names.STATUS,
    "input_tokens": names.INPUT_TOKENS,
    "output_tokens": names.OUTPUT_TOKENS,
}
"""Attributes that have a column of their own."""


def span_schema() -> Any:
    pa = _arrow()[0]
    text, moment = pa.string(), pa.timestamp("us", tz="UTC")
    fields = {
        **dict.fromkeys(("trace_id", "span_id", "parent_id", "name", "kind", "service", "instance"), text),
        "start_time": moment,
        "end_time": moment,
        "duration_ms": pa.float64(),
        "error": text,
        **{column: pa.int64() if column.endswith("_tokens") else text for column in COLUMNS},
        "attributes": pa.map_(text, text),
    }
    return pa.schema(list(fields.items()))


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _write(folder: Path, table: Any, compression: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{new_id('spans')}.parquet"
    beside = file.with_suffix(_WRITING)
    _arrow()[1].write_table(table, beside, compression=compression)
    beside.rename(file)


def _arrow() -> tuple[Any, Any]:
    # Loaded when it is first needed, in a thread: a process without traces does without.
    import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]

    return cast(Any, pa), cast(Any, pq)
