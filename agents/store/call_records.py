"""Calls of servers between the log and the books: rows that the log's own transaction writes.

A row is there from the commit that logs the call's result until the books have it on disk. So no crash in between
loses one, and neither does the session's deletion; one that the books have already counts once, by its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, delete, select

from agents.economics.hand_calls import CallRecord, call_record
from agents.sessions.events import Event, EventType, SessionRecord
from agents.store.codec import Row, decode, encode, micros, moment_at
from agents.store.engine import Database
from agents.store.tables import call_records

_CALL_OF = {EventType.AGENT_MCP_TOOL_RESULT: "mcp_tool_use_id", EventType.AGENT_TOOL_RESULT: "tool_use_id"}
_PENDING = select(call_records).order_by(call_records.c.key).limit(bindparam("most"))
_SETTLE = delete(call_records).where(call_records.c.key.in_(bindparam("keys", expanding=True)))


def call_of(event: Event, session: SessionRecord) -> CallRecord | None:
    """Return what is kept of the call that *event* is the result of; None where no server ran one."""
    kept = (event.hidden or {}).get("call")
    if kept is None or event.processed_at is None:
        return None
    return call_record(
        kept,
        key=event.body[_CALL_OF[event.type]],
        at=event.processed_at,
        tenant=session.principal,
        session=session.id,
    )


def call_rows(session: SessionRecord, events: Sequence[Event]) -> list[Row]:
    """Return the rows of the calls whose results are among the *events* of one commit."""
    calls = (call_of(event, session) for event in events if event.hidden is not None)
    return [row_of(call) for call in calls if call is not None]


def row_of(call: CallRecord) -> Row:
    body = {name: value for name, value in asdict(call).items() if name not in ("key", "at")}
    return {"key": call.key, "at": micros(call.at), "body": encode(body)}


def record_of(row: Row) -> CallRecord:
    return CallRecord(key=row["key"], at=moment_at(row["at"]), **decode(row["body"]))


class SqlCallRecords:
    """The CallRecords of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, limit: int) -> Sequence[CallRecord]:
        """See CallRecords.pending."""

        def work(connection: Connection) -> list[CallRecord]:
            rows = connection.execute(_PENDING, {"most": limit}).mappings()
            return [record_of(dict(row)) for row in rows]

        return await self._database.read(work)

    async def settle(self, keys: Sequence[str]) -> None:
        """See CallRecords.settle."""
        if keys:
            await self._database.write(
                lambda connection: connection.execute(_SETTLE, {"keys": list(keys)}).close(), repeatable=True
            )


class MemoryCallRecords:
    """The CallRecords of one process."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    async def pending(self, limit: int) -> Sequence[CallRecord]:
        """See CallRecords.pending."""
        return [record_of(self.rows[key]) for key in sorted(self.rows)[:limit]]

    async def settle(self, keys: Sequence[str]) -> None:
        """See CallRecords.settle."""
        for key in keys:
            self.rows.pop(key, None)
