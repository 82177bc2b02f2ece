"""The trail in Parquet files: how an export is written, and how it is read again to be verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from agents.commands.failures import CommandFailed
from agents.governance.audit.entries import ChainedEntry, EntryQuery
from agents.governance.audit.trail import Leaf, LoggedRow, Redaction, Standing

pa, pq = cast(Any, pyarrow), cast(Any, pyarrow.parquet)  # they have no types
_TEXT, _NUMBER = pa.string(), pa.int64()
SCHEMAS: Mapping[str, Any] = {
    "entries": pa.schema(
        [("seq", _NUMBER), ("at", _NUMBER)]
        + [(name, _TEXT) for name in ("actor", "action", "object", "origin", "request_id", "outcome", "body", "hash")]
    ),
    "sessions": pa.schema([("session_id", _TEXT), ("seq", _NUMBER), ("deleted", _NUMBER)]),
    "leaves": pa.schema(
        [("entry", _NUMBER), ("session_id", _TEXT), ("seq", _NUMBER), ("head", _TEXT), ("deleted", pa.bool_())]
    ),
    "redactions": pa.schema(
        [("session_id", _TEXT), ("seq", _NUMBER), ("before", _TEXT), ("after", _TEXT), ("entry", _NUMBER)]
    ),
    "events": pa.schema(
        [("session_id", _TEXT), ("seq", _NUMBER), ("id", _TEXT), ("type", _TEXT), ("processed_at", _NUMBER)]
        + [(name, _TEXT) for name in ("body", "hidden", "link", "thread")]
    ),
}
_GROUP_ROWS = 5000
_THREAD = "thread"
_UNSAID = {_THREAD: ""}
"""What servers of earlier releases do not say of events: all were of primary threads."""


class TrailWriter:
    """Writes the tables of an export; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}
        self._rows: dict[str, list[Mapping[str, Any]]] = {name: [] for name in SCHEMAS}

    def __enter__(self) -> TrailWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        if any(self._folder.glob("*.parquet")):
            raise CommandFailed(f"{self._folder} holds Parquet files already; name another folder")
        for name, schema in SCHEMAS.items():
            self._files[name] = pq.ParquetWriter(self._folder / f"{name}.parquet", schema, compression="zstd")
        return self

    def __exit__(self, *_: object) -> None:
        for name, file in self._files.items():
            self._write(name)
            file.close()

    def add(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a table; they may have more columns than it."""
        self._rows[table].extend({**_UNSAID, **row} for row in rows)
        if len(self._rows[table]) >= _GROUP_ROWS:
            self._write(table)

    def _write(self, name: str) -> None:
        rows, self._rows[name] = self._rows[name], []
        if rows:
            kept = [{column: row[column] for column in SCHEMAS[name].names} for row in rows]
            self._files[name].write_table(pa.Table.from_pylist(kept, schema=SCHEMAS[name]))


class ParquetTrail:
    """The TrailReader of an export."""

    def __init__(self, folder: Path) -> None:
        """Raises CommandFailed when it is none."""
        self._tables = duckdb.connect()
        for name in SCHEMAS:
            file = folder / f"{name}.parquet"
            if not file.is_file():
                raise CommandFailed(f"{folder} is no export of the audit trail: {file.name} is missing")
            self._tables.from_parquet(str(file)).create_view(name)
        # An export of an earlier release has only events of primary threads.
        self._thread = _THREAD if _THREAD in self._tables.view("events").columns else "''"

    async def entries(self, query: EntryQuery) -> Sequence[ChainedEntry]:
        """See TrailReader.entries."""
        columns = 'seq, "at", actor, action, "object", body, hash'
        newest = query.newest_first
        wanted = {"action": query.action, "hash": query.hash, "after": query.after}
        values = {name: value for name, value in wanted.items() if value is not None}
        conditions = {
            "action": "action = $action",
            "hash": "hash = $hash",
            "after": f"seq {'<' if newest else '>'} $after",
        }
        where = " AND ".join(conditions[name] for name in values) or "TRUE"
        rows = self._rows(
            f"SELECT {columns} FROM entries WHERE {where}"  # noqa: S608
            f" ORDER BY seq {'DESC' if newest else 'ASC'} LIMIT {query.limit}",
            values,
        )
        return [ChainedEntry(*row) for row in rows]

    async def leaves(self, entry: int) -> Sequence[Leaf]:
        """See TrailReader.leaves."""
        statement = "SELECT entry, session_id, seq, head, deleted FROM leaves WHERE entry = $entry"
        return [Leaf(*row) for row in self._rows(statement, {"entry": entry})]

    async def sessions(self, after: str, limit: int) -> Sequence[str]:
        """See TrailReader.sessions."""
        statement = (
            "SELECT DISTINCT session_id FROM (SELECT session_id FROM sessions UNION ALL SELECT session_id FROM leaves"
            " UNION ALL SELECT session_id FROM events) WHERE session_id > $after ORDER BY session_id LIMIT $most"
        )
        return [row[0] for row in self._rows(statement, {"after": after, "most": limit})]

    async def standing(self, session_id: str) -> Standing:
        """See TrailReader.standing."""
        its = {"key": session_id}
        [*known] = self._rows("SELECT seq, deleted FROM sessions WHERE session_id = $key", its)
        leaves = "SELECT entry, session_id, seq, head, deleted FROM leaves WHERE session_id = $key ORDER BY seq, entry"
        redactions = 'SELECT session_id, seq, "before", "after", entry FROM redactions WHERE session_id = $key'
        return Standing(
            *(known[0] if known else (None, None)),
            leaves=[Leaf(*row) for row in self._rows(leaves, its)],
            redactions=[Redaction(*row) for row in self._rows(redactions, its)],
        )

    async def rows(self, session_id: str, after: int, limit: int) -> Sequence[LoggedRow]:
        """See TrailReader.rows."""
        statement = (
            f"SELECT session_id, seq, id, type, processed_at, body, hidden, link, {self._thread} FROM events"  # noqa: S608
            " WHERE session_id = $key AND seq > $after ORDER BY seq LIMIT $most"
        )
        found = self._rows(statement, {"key": session_id, "after": after, "most": limit})
        return [LoggedRow(*row) for row in found]

    def _rows(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return self._tables.execute(statement, dict(values)).fetchall()
