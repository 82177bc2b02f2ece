"""Calls of servers between the log and the books: rows that the log's own transaction writes.

A row is there from the commit that logs the call's result until the books have it on disk. So no crash in between
loses one, and neither does the session's deletion; one that the books have already counts once, by its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, delete, select, tuple_

from agents.economics.hand_calls import CallRecord, LoggedCalls, LogPlace, call_record
from agents.sessions.events import Event, EventType, SessionRecord
from agents.store.codec import EVENT_TYPES, Row, decode, encode, event_of, findable, micros, moment_at
from agents.store.engine import Database
from agents.store.tables import call_records, events, sessions

_CALL_OF = {EventType.AGENT_MCP_TOOL_RESULT: "mcp_tool_use_id", EventType.AGENT_TOOL_RESULT: "tool_use_id"}
_PENDING = select(call_records).order_by(call_records.c.key).limit(bindparam("most"))
_LOGGED = (
    select(events, sessions.c.state.label("session_state"))
    .join(sessions, sessions.c.id == events.c.session_id)
    .where(
        events.c.type.in_([kind.value for kind in _CALL_OF]),
        tuple_(events.c.session_id, events.c.seq) > tuple_(bindparam("session"), bindparam("seq")),
    )
    .order_by(events.c.session_id, events.c.seq)
    .limit(bindparam("most"))
)
_SETTLE = delete(call_records).where(call_records.c.key.in_(bindparam("keys", expanding=True)))


def call_of(event: Event, *, tenant: str, session: str) -> CallRecord | None:
    """Return what is kept of the call that *event* is the result of; None where no server ran one."""
    kept = (event.hidden or {}).get("call")
    if kept is None or event.processed_at is None:
        return None
    return call_record(
        kept,
        key=event.body[_CALL_OF[event.type]],
        at=event.processed_at,
        tenant=tenant,
        session=session,
    )


def call_rows(session: SessionRecord, logged: Sequence[Event]) -> list[Row]:
    """Return the rows of the calls whose results are among the events of one commit."""
    served = (event for event in logged if event.hidden is not None)
    calls = (call_of(event, tenant=session.principal, session=session.id) for event in served)
    return [row_of(call) for call in calls if call is not None]


def is_result(row: Row) -> bool:
    """Whether an event's row is one that may be of a call of a server."""
    return EVENT_TYPES[row["type"]] in _CALL_OF


def logged_calls(rows: Sequence[Row], limit: int) -> LoggedCalls:
    """Make the records of calls from rows of results, each with its session's state."""
    calls = (
        call_of(event_of(row), tenant=decode(row["session_state"]).get("principal", ""), session=row["session_id"])
        for row in rows
    )
    after = LogPlace(rows[-1]["session_id"], rows[-1]["seq"]) if len(rows) == limit else None
    return LoggedCalls([call for call in calls if call is not None], after)


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

    async def logged(self, after: LogPlace, limit: int) -> LoggedCalls:
        """See CallRecords.logged."""
        if not findable(after.session):
            return LoggedCalls([], None)

        def work(connection: Connection) -> list[Row]:
            place = {"session": after.session, "seq": after.seq, "most": limit}
            return [dict(row) for row in connection.execute(_LOGGED, place).mappings()]

        return logged_calls(await self._database.read(work), limit)


class MemoryCallRecords:
    """The CallRecords of one process; *results* returns what ``_LOGGED`` would of everything."""

    def __init__(self, results: Callable[[], Iterable[Row]] = lambda: ()) -> None:
        self.rows: dict[str, Row] = {}
        self._results = results

    async def pending(self, limit: int) -> Sequence[CallRecord]:
        """See CallRecords.pending."""
        return [record_of(self.rows[key]) for key in sorted(self.rows)[:limit]]

    async def settle(self, keys: Sequence[str]) -> None:
        """See CallRecords.settle."""
        for key in keys:
            self.rows.pop(key, None)

    async def logged(self, after: LogPlace, limit: int) -> LoggedCalls:
        """See CallRecords.logged."""
        if not findable(after.session):
            return LoggedCalls([], None)
        place = (after.session, after.seq)
        found = [row for row in self._results() if (row["session_id"], row["seq"]) > place and is_result(row)]
        found.sort(key=lambda row: (row["session_id"], row["seq"]))
        return logged_calls(found[:limit], limit)
