"""How sessions are dealt out among the versions of hands and how their calls went, on a database and in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Delete, and_, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from agents.governance.audit.entries import AuditEntry
from agents.governance.outcomes import KEPT_SECONDS, SHORT, OutcomeRow
from agents.store.engine import Database
from agents.store.splits import DEADLINE_SECONDS, MemorySplits, SqlSplits
from agents.store.tables import hand_outcomes, hand_splits

_KEY = ("hand", "span", "moment", "outcome", "latency")


def _adding(insert: Any) -> Any:
    added = {"calls": hand_outcomes.c.calls + insert.excluded["calls"]}
    return insert.on_conflict_do_update(index_elements=[hand_outcomes.c[name] for name in _KEY], set_=added)


_ADD = {
    "postgresql": _adding(postgresql.insert(hand_outcomes)),
    "sqlite": _adding(sqlite.insert(hand_outcomes)),
}


def _key(row: OutcomeRow) -> tuple[str, int, int, str, int]:
    return row.hand, row.span, row.moment, row.outcome, row.latency


class SqlHandReleases(SqlSplits):
    """The HandReleaseRecords of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, hand_splits, "hand")

    def _forgetting(self, versions: Sequence[str]) -> Delete:
        return delete(hand_outcomes).where(hand_outcomes.c.span == SHORT, hand_outcomes.c.hand.in_(versions))

    async def add_outcomes(self, rows: Sequence[OutcomeRow], *, now: int) -> None:
        """See HandReleaseRecords.add_outcomes; when the connection is lost, what was added may count twice."""
        # In one order, so that writers never wait for each other in a circle.
        added = [asdict(row) for row in sorted(rows, key=_key)]
        table = hand_outcomes.c
        old = or_(*(and_(table.span == span, table.moment < now - kept) for span, kept in KEPT_SECONDS.items()))

        def work(connection: Connection) -> None:
            connection.execute(delete(hand_outcomes).where(old))
            if added:
                connection.execute(_ADD[connection.dialect.name], added)

        await self._database.write(work, deadline=DEADLINE_SECONDS)

    async def outcomes(self, span: int, since: int, *, hand: str | None = None) -> Sequence[OutcomeRow]:
        """See HandReleaseRecords.outcomes."""
        table = hand_outcomes.c
        wanted = select(hand_outcomes).where(table.span == span, table.moment >= since)
        if hand is not None:
            wanted = wanted.where(table.hand == hand)
        rows = await self._read(wanted.order_by(*(table[name] for name in _KEY)))
        return [OutcomeRow(**row) for row in rows]


class MemoryHandReleases(MemorySplits):
    """The HandReleaseRecords of one process."""

    def __init__(self, record: Callable[[AuditEntry], object] = lambda _: None) -> None:
        super().__init__("hand", record)
        self._outcomes: dict[tuple[str, int, int, str, int], OutcomeRow] = {}

    def _forget(self, versions: Sequence[str]) -> None:
        kept = [row for row in self._outcomes.values() if row.span != SHORT or row.hand not in versions]
        self._outcomes = {_key(row): row for row in kept}

    async def add_outcomes(self, rows: Sequence[OutcomeRow], *, now: int) -> None:
        kept = [row for row in self._outcomes.values() if row.moment >= now - KEPT_SECONDS[row.span]]
        self._outcomes = {_key(row): row for row in kept}
        for row in rows:
            before = self._outcomes.get(_key(row))
            calls = row.calls + (before.calls if before else 0)
            self._outcomes[_key(row)] = OutcomeRow(row.hand, row.span, row.moment, row.outcome, row.latency, calls)

    async def outcomes(self, span: int, since: int, *, hand: str | None = None) -> Sequence[OutcomeRow]:
        found = [row for row in self._outcomes.values() if row.span == span and row.moment >= since]
        return sorted((row for row in found if hand is None or row.hand == hand), key=_key)
