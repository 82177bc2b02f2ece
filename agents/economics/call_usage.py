"""Adding up calls: from the files of the books and what waits for them, each call once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from agents.economics.call_files import table_of
from agents.economics.hand_calls import CallRecord

Grouping = Literal["hand", "version", "tenant", "session", "tool", "outcome"]

_SUMS = ("queue_ms", "run_ms", "cpu_us", "bytes_in", "bytes_out", "micro_usd", "provider_micro_usd")
_MEMORY = "512MB"


@dataclass(frozen=True, slots=True)
class CallTotal:
    """The calls of one group, added up; ``group`` has the values of what they were grouped by, in its order."""

    group: tuple[str, ...]
    calls: int
    cached: int
    failed: int
    """Calls whose outcome is not ``ok``."""
    queue_ms: int
    run_ms: int
    cpu_us: int
    bytes_in: int
    bytes_out: int
    micro_usd: int
    provider_micro_usd: int


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls count: from ``since`` on, before ``until``; of one tenant, or (None) of all."""

    since: datetime | None = None
    until: datetime | None = None
    tenant: str | None = None


def add_up(
    files: Sequence[Path], waiting: Sequence[CallRecord], by: Sequence[Grouping], chosen: CallFilter, spill: Path
) -> list[CallTotal]:
    """Add the calls up by groups, in their order; what memory has no room for lies in *spill*.

    Blocks. Raises ``duckdb.IOException`` when a file is gone.
    """
    import duckdb

    with duckdb.connect(":memory:", config={"memory_limit": _MEMORY, "temp_directory": str(spill)}) as database:
        database.register("waiting", table_of(waiting))
        values: dict[str, Any] = {"since": chosen.since, "until": chosen.until, "tenant": chosen.tenant}
        text = _statement([str(file) for file in files], by)
        if files:
            values["files"] = [str(file) for file in files]
        rows = database.execute(text, values).fetchall()
    return [_total(row, len(by)) for row in rows]


def known_keys(files: Sequence[Path], calls: Sequence[CallRecord]) -> set[str]:
    """Return the keys of those *calls* that are in *files*. Blocks. Raises as ``add_up``."""
    import duckdb

    if not files:
        return set()
    values = {"files": [str(file) for file in files], "keys": [call.key for call in calls]}
    text = "SELECT key FROM read_parquet($files, hive_partitioning = false) WHERE list_contains($keys, key)"
    with duckdb.connect(":memory:", config={"memory_limit": _MEMORY}) as database:
        return {str(row[0]) for row in database.execute(text, values).fetchall()}


def _statement(files: Sequence[str], by: Sequence[Grouping]) -> str:
    stored = "SELECT * FROM read_parquet($files, hive_partitioning = false) UNION ALL BY NAME " if files else ""
    columns = ", ".join(by)
    sums = ", ".join(f"sum({name})::BIGINT" for name in _SUMS)
    # Only names from this module are put in; everything that was asked for is a parameter.
    return f"""
        WITH every AS ({stored}SELECT * FROM waiting), once AS (SELECT DISTINCT ON (key) * FROM every)
        SELECT {columns}, count(*), count(*) FILTER (cached), count(*) FILTER (outcome <> 'ok'), {sums}
        FROM once
        WHERE ($since IS NULL OR "at" >= $since) AND ($until IS NULL OR "at" < $until)
            AND ($tenant IS NULL OR tenant = $tenant)
        GROUP BY {columns}
        ORDER BY {columns}
    """  # noqa: S608


def _total(row: Sequence[Any], groups: int) -> CallTotal:
    names = ("calls", "cached", "failed", *_SUMS)
    figures: Mapping[str, int] = dict(zip(names, map(int, row[groups:]), strict=True))
    return CallTotal(tuple(map(str, row[:groups])), **figures)
