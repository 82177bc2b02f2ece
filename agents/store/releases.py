"""What is known of versions of brains, on a database.

A split is one row with a revision: it changes as a whole or not at all, and of two who change it at a time one is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from agents.brains.release_records import Outcome, OutcomeRow, StoredSplit
from agents.brains.split import Split
from agents.errors import Conflict
from agents.store.codec import Row, decode, encode
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.tables import brain_outcomes, brain_splits, brain_versions

_DEADLINE_SECONDS = 5.0
"""Who asks will ask again in a moment, and goes on with what it knows."""
_COUNTED = ("requests", "failed", "slow")

_KEEP = insert_new(brain_versions)
_FIRST = insert_new(brain_splits)
_NEXT = (
    update(brain_splits)
    .where(brain_splits.c.name == bindparam("key"), brain_splits.c.revision == bindparam("before"))
    .values(revision=bindparam("before") + 1, body=bindparam("body"))
)


def _adding(insert: Any) -> Any:
    key = [brain_outcomes.c.brain, brain_outcomes.c.moment]
    return insert.on_conflict_do_update(
        index_elements=key, set_={name: brain_outcomes.c[name] + insert.excluded[name] for name in _COUNTED}
    )


_ADD = {
    "postgresql": _adding(postgresql.insert(brain_outcomes)),
    "sqlite": _adding(sqlite.insert(brain_outcomes)),
}


class SqlReleases:
    """The ReleaseRecords of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def definitions(self) -> Mapping[str, Mapping[str, Any]]:
        """See ReleaseRecords.definitions."""
        rows = await self._read(select(brain_versions))
        return {row["id"]: decode(row["definition"]) for row in rows}

    async def settle(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        """See ReleaseRecords.settle."""
        rows = [{"id": brain, "definition": encode(definition)} for brain, definition in definitions.items()]

        def work(connection: Connection) -> None:
            connection.execute(_KEEP[connection.dialect.name], rows)

        if rows:
            await self._database.write(work, deadline=_DEADLINE_SECONDS, repeatable=True)

    async def splits(self) -> Mapping[str, StoredSplit]:
        """See ReleaseRecords.splits."""
        rows = await self._read(select(brain_splits))
        return {row["name"]: split_at(row["body"], row["revision"]) for row in rows}

    async def change_split(self, name: str, stored: StoredSplit, *, forget: Sequence[str] = ()) -> None:
        """See ReleaseRecords.change_split."""
        before, body = stored.revision - 1, split_text(stored)

        def work(connection: Connection) -> None:
            if before:
                changed = connection.execute(_NEXT, {"key": name, "before": before, "body": body})
            else:
                first = {"name": name, "revision": 1, "body": body}
                changed = connection.execute(_FIRST[connection.dialect.name].values(first))
            if not changed.rowcount:
                raise overtaken(name)
            connection.execute(delete(brain_outcomes).where(brain_outcomes.c.brain.in_(forget)))

        await self._database.write(work, deadline=_DEADLINE_SECONDS)

    async def add_outcomes(self, rows: Sequence[OutcomeRow], *, forget_before: int) -> None:
        """See ReleaseRecords.add_outcomes; when the connection is lost, what was added may count twice."""
        # In one order, so that writers never wait for each other in a circle.
        ordered = sorted(rows, key=lambda row: (row.brain, row.moment))
        added = [{"brain": row.brain, "moment": row.moment, **asdict(row.outcome)} for row in ordered]

        def work(connection: Connection) -> None:
            connection.execute(delete(brain_outcomes).where(brain_outcomes.c.moment < forget_before))
            if added:
                connection.execute(_ADD[connection.dialect.name], added)

        await self._database.write(work, deadline=_DEADLINE_SECONDS)

    async def outcomes(self, since: int) -> Sequence[OutcomeRow]:
        """See ReleaseRecords.outcomes."""
        wanted = select(brain_outcomes).where(brain_outcomes.c.moment >= since)
        rows = await self._read(wanted.order_by(brain_outcomes.c.brain, brain_outcomes.c.moment))
        return [OutcomeRow(row["brain"], row["moment"], Outcome(*(row[name] for name in _COUNTED))) for row in rows]

    async def _read(self, statement: Any) -> Sequence[Row]:
        def work(connection: Connection) -> list[Row]:
            return [dict(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work, deadline=_DEADLINE_SECONDS)


def overtaken(name: str) -> Conflict:
    """Word that the split of the brain *name* is not the newest."""
    return Conflict(f"brain {name}: its versions were changed by somebody else just now")


def split_text(stored: StoredSplit) -> str:
    """Return a split as the text of its row."""
    return encode({"split": asdict(stored.split), "declared": asdict(stored.declared)})


def split_at(text: str, revision: int) -> StoredSplit:
    """Return the split of a row."""
    body = decode(text)
    return StoredSplit(Split(**body["split"]), Split(**body["declared"]), revision)
