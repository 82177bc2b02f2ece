"""Splits of versions on a database.

A split is one row with a revision: it changes as a whole or not at all, and of two who change it at a time one is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Delete, Table, bindparam, select, update

from agents.errors import Conflict
from agents.governance.audit.entries import AuditEntry
from agents.governance.split import Split, StoredSplit
from agents.store.audit_writing import add_entries
from agents.store.codec import Row, decode, encode
from agents.store.engine import Database
from agents.store.inserts import insert_new

DEADLINE_SECONDS = 5.0
"""Who asks will ask again in a moment, and goes on with what it knows."""


class SqlSplits:
    """The SplitRecords of SQLite and PostgreSQL: those of one table."""

    def __init__(self, database: Database, table: Table, what: str) -> None:
        """*what* the versions are of, such as ``brain``, is for messages."""
        self._database = database
        self._table = table
        self._what = what
        self._first = insert_new(table)
        self._next = (
            update(table)
            .where(table.c.name == bindparam("key"), table.c.revision == bindparam("before"))
            .values(revision=bindparam("before") + 1, body=bindparam("body"))
        )

    def _forgetting(self, versions: Sequence[str]) -> Delete:
        """What forgets that which *versions* are judged by."""
        raise NotImplementedError

    async def splits(self) -> Mapping[str, StoredSplit]:
        """See SplitRecords.splits."""
        rows = await self._read(select(self._table))
        return {row["name"]: split_at(row["body"], row["revision"]) for row in rows}

    async def change_split(
        self, name: str, stored: StoredSplit, *, forget: Sequence[str] = (), entry: AuditEntry | None = None
    ) -> None:
        """See SplitRecords.change_split."""
        before, body = stored.revision - 1, split_text(stored)

        def work(connection: Connection) -> None:
            if before:
                changed = connection.execute(self._next, {"key": name, "before": before, "body": body})
            else:
                first = {"name": name, "revision": 1, "body": body}
                changed = connection.execute(self._first[connection.dialect.name].values(first))
            if not changed.rowcount:
                raise overtaken(self._what, name)
            connection.execute(self._forgetting(forget))
            if entry is not None:
                add_entries(connection, [entry])

        await self._database.write(work, deadline=DEADLINE_SECONDS)

    async def _read(self, statement: Any) -> Sequence[Row]:
        def work(connection: Connection) -> list[Row]:
            return [dict(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work, deadline=DEADLINE_SECONDS)


class MemorySplits:
    """The SplitRecords of one process."""

    def __init__(self, what: str, record: Callable[[AuditEntry], object] = lambda _: None) -> None:
        """*record* writes to the audit trail."""
        self._what = what
        self._record = record
        self._splits: dict[str, tuple[int, str]] = {}

    def _forget(self, versions: Sequence[str]) -> None:
        raise NotImplementedError

    async def splits(self) -> Mapping[str, StoredSplit]:
        return {name: split_at(text, revision) for name, (revision, text) in self._splits.items()}

    async def change_split(
        self, name: str, stored: StoredSplit, *, forget: Sequence[str] = (), entry: AuditEntry | None = None
    ) -> None:
        if stored.revision != self._splits.get(name, (0, ""))[0] + 1:
            raise overtaken(self._what, name)
        self._splits[name] = stored.revision, split_text(stored)
        self._forget(forget)
        if entry is not None:
            self._record(entry)


def overtaken(what: str, name: str) -> Conflict:
    """Word that the split of *name* is not the newest."""
    return Conflict(f"{what} {name}: its versions were changed by somebody else just now")


def split_text(stored: StoredSplit) -> str:
    """Return a split as the text of its row."""
    return encode({"split": asdict(stored.split), "declared": asdict(stored.declared)})


def split_at(text: str, revision: int) -> StoredSplit:
    """Return the split of a row."""
    body = decode(text)
    return StoredSplit(Split(**body["split"]), Split(**body["declared"]), revision)
