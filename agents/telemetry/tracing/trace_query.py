"""Asking the trace store: SQL over a view ``spans``, in a DuckDB that can read the store and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from agents.errors import HecatonError, InvalidRequest
from agents.telemetry.tracing.span_files import span_table

T = TypeVar("T")

_MEMORY = "1GB"
_TRIES = 5
"""A file that is merged away while it is read is looked for again in what it was merged into."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of a query, with the names of their columns."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    def records(self) -> list[dict[str, Any]]:
        """Return each row as a mapping."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class BadQuery(InvalidRequest):
    """The SQL is at fault; the message is DuckDB's."""


def query_spans(folder: Path, sql: str, values: Mapping[str, Any] | None = None) -> Answer:
    """Run a query over the spans in *folder*. Blocks. Raises BadQuery, or HecatonError (the store can not be read)."""
    return _again(lambda: _query(folder, sql, values or {}))


def _query(folder: Path, sql: str, values: Mapping[str, Any]) -> Answer:
    import duckdb

    files = [str(file) for file in sorted(folder.glob("date=*/*.parquet"))]
    config: dict[str, Any] = {"memory_limit": _MEMORY, "temp_directory": "", "autoinstall_known_extensions": "false"}
    with duckdb.connect(":memory:", config=config) as database:
        if files:
            listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
            stored = f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"
        else:
            database.register("no_spans", span_table([], "", ""))
            stored = "no_spans"
        # A span may be in two files while small ones are merged.
        database.execute(f"CREATE VIEW spans AS SELECT DISTINCT ON (trace_id, span_id) * FROM {stored}")  # noqa: S608
        database.execute(f"SET allowed_directories = ['{str(folder).replace(chr(39), chr(39) * 2)}/']")
        database.execute("SET TimeZone = 'UTC'")
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        try:
            # By way of Arrow: times with a zone need another package otherwise.
            found: Any = database.sql(sql, params=dict(values) or None)
            if found is None:
                return Answer((), ())
            table = found.to_arrow_table()
            columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
            return Answer(tuple(table.column_names), list(zip(*columns, strict=True)))
        except duckdb.IOException:
            raise
        except duckdb.Error as error:
            raise BadQuery(str(error)) from None


def _plain(value: Any) -> Any:
    """Return an interval as Python has it (a month has 30 days), anything else as it is."""
    nanoseconds: int | None = getattr(value, "nanoseconds", None)
    if nanoseconds is None or isinstance(value, timedelta):
        return value
    return timedelta(days=value.days + 30 * value.months, microseconds=nanoseconds // 1000)


def _again(work: Callable[[], T]) -> T:
    import duckdb

    for left in reversed(range(_TRIES)):
        try:
            return work()
        except duckdb.IOException as error:
            if not left:
                raise HecatonError(f"the trace store can not be read: {error}") from error
    raise AssertionError("not reached")


_OF_SESSION = """
    SELECT trace_id, span_id, parent_id, name, kind, service, instance, start_time, end_time, duration_ms, error,
        attributes
    FROM spans
    WHERE trace_id IN (SELECT trace_id FROM spans WHERE session_id = $session)
        AND (session_id = $session OR session_id IS NULL)
    ORDER BY start_time, duration_ms DESC, span_id
"""


def session_spans(folder: Path, session_id: str) -> Answer:
    """Return the spans of a session, the oldest first. Blocks; raises as ``query_spans``."""
    return query_spans(folder, _OF_SESSION, {"session": session_id})
