"""What is known of versions of brains, on a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Delete, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from agents.brains.release_records import Outcome, OutcomeRow
from agents.store.codec import decode, encode
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.splits import DEADLINE_SECONDS, SqlSplits
from agents.store.tables import brain_outcomes, brain_splits, brain_versions

_COUNTED = ("requests", "failed", "slow")

_KEEP = insert_new(brain_versions)


def _adding(insert: Any) -> Any:
    key = [brain_outcomes.c.brain, brain_outcomes.c.moment]
    return insert.on_conflict_do_update(
        index_elements=key, set_={name: brain_outcomes.c[name] + insert.excluded[name] for name in _COUNTED}
    )


_ADD = {
    "postgresql": _adding(postgresql.insert(brain_outcomes)),
    "sqlite": _adding(sqlite.insert(brain_outcomes)),
}


class SqlReleases(SqlSplits):
    """The ReleaseRecords of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, brain_splits, "brain")

    def _forgetting(self, versions: Sequence[str]) -> Delete:
        return delete(brain_outcomes).where(brain_outcomes.c.brain.in_(versions))

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
            await self._database.write(work, deadline=DEADLINE_SECONDS, repeatable=True)

    async def add_outcomes(self, rows: Sequence[OutcomeRow], *, forget_before: int) -> None:
        """See ReleaseRecords.add_outcomes; when the connection is lost, what was added may count twice."""
        # In one order, so that writers never wait for each other in a circle.
        ordered = sorted(rows, key=lambda row: (row.brain, row.moment))
        added = [{"brain": row.brain, "moment": row.moment, **asdict(row.outcome)} for row in ordered]

        def work(connection: Connection) -> None:
            connection.execute(delete(brain_outcomes).where(brain_outcomes.c.moment < forget_before))
            if added:
                connection.execute(_ADD[connection.dialect.name], added)

        await self._database.write(work, deadline=DEADLINE_SECONDS)

    async def outcomes(self, since: int) -> Sequence[OutcomeRow]:
        """See ReleaseRecords.outcomes."""
        wanted = select(brain_outcomes).where(brain_outcomes.c.moment >= since)
        rows = await self._read(wanted.order_by(brain_outcomes.c.brain, brain_outcomes.c.moment))
        return [OutcomeRow(row["brain"], row["moment"], Outcome(*(row[name] for name in _COUNTED))) for row in rows]
