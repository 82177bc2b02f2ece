"""The books of server calls on disk: Arrow rows in Parquet files, a folder for each month (UTC).

A file comes to its name whole and flushed to disk, and is never changed. Many small ones are merged into one that is
there before they go. So a crash at any point leaves every call in at least one file, and what is in two of them counts
once, by its key. One process writes at a time, which a lock in the folder sees to.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from agents.disk import sync_directory
from agents.economics.hand_calls import CallRecord
from agents.file_locks import takes
from agents.ids import new_id

_MOST_SMALL = 24
"""Small files of a month; with more of them they are merged."""
_SMALL_BYTES = 8 * 1024**2
"""Larger files are left as they are: about 200,000 calls."""
_WRITING = ".writing"


class CallFiles:
    """The files of one folder. Every call blocks; run it in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def alone(self) -> Generator[bool]:
        """Become the one who writes; yields False when somebody else is. The kernel frees what a dead process held."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            yield takes(lock, fcntl.LOCK_EX)
        finally:
            os.close(lock)

    def add(self, records: Iterable[CallRecord]) -> None:
        """Write calls down; returns when they are on disk. Raises OSError."""
        months: dict[str, list[CallRecord]] = {}
        for record in records:
            months.setdefault(month_of(record.at), []).append(record)
        for month, group in months.items():
            self._write(month, table_of(group))

    def files(self, since: datetime | None = None, until: datetime | None = None) -> list[Path]:
        """Return the files of the months in which calls since (included) and until (excluded) can be."""
        first, last = month_of(since) if since else "", month_of(until) if until else "~"
        folders = sorted(self._folder.glob("month=*"))
        chosen = [folder for folder in folders if first <= folder.name.removeprefix("month=") <= last]
        return [file for folder in chosen for file in sorted(folder.glob("*.parquet"))]

    def tidy(self) -> None:
        """Merge small files where there are many, and remove what a crash has left half written.

        Only for who is alone. Raises OSError.
        """
        for folder in sorted(self._folder.glob("month=*")):
            for left in folder.glob(f"*{_WRITING}"):
                left.unlink()
            small = [file for file in sorted(folder.glob("*.parquet")) if file.stat().st_size < _SMALL_BYTES]
            if len(small) > _MOST_SMALL:
                self._merge(folder.name.removeprefix("month="), small)

    def _merge(self, month: str, small: Sequence[Path]) -> None:
        pa, pq = _arrow()
        rows = {row["key"]: row for file in small for row in pq.read_table(file, partitioning=None).to_pylist()}
        self._write(month, pa.Table.from_pylist(list(rows.values()), schema=_schema()))
        for file in small:
            file.unlink()

    def _write(self, month: str, table: Any) -> None:
        folder = self._folder / f"month={month}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{new_id('calls')}.parquet"
        beside = file.with_suffix(_WRITING)
        with beside.open("wb") as stream:
            _arrow()[1].write_table(table, stream, compression="zstd")
            stream.flush()
            os.fsync(stream.fileno())
        beside.rename(file)
        for each in (folder, self._folder):
            sync_directory(each)


def month_of(moment: datetime) -> str:
    """Return a moment's month, such as ``2026-11``."""
    utc = moment.astimezone(UTC)
    return f"{utc.year:04d}-{utc.month:02d}"


def table_of(records: Sequence[CallRecord]) -> Any:
    """Return calls as an Arrow table."""
    return _arrow()[0].Table.from_pylist([asdict(record) for record in records], schema=_schema())


def _schema() -> Any:
    pa = _arrow()[0]
    types = {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "datetime": pa.timestamp("us", tz="UTC")}
    return pa.schema([(field.name, types[str(field.type)]) for field in fields(CallRecord)])


def _arrow() -> tuple[Any, Any]:
    # Loaded when it is first needed: a gateway that nobody meters through does without.
    import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]

    return cast(Any, pa), cast(Any, pq)
