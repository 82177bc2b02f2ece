"""Redaction on a database: the content goes, its hash stays, and the log says that it grew.

The hash of what was there, and of what is there now, go into the chain of the trail in the same transaction. The event
that the log grows by makes the next commit of whoever has the session in memory fail: it reads the log anew then.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import BindParameter, Connection, bindparam, insert, select, update

from agents.errors import Conflict, NotFound
from agents.governance.audit.chain import row_digest
from agents.governance.audit.entries import AuditEntry
from agents.governance.audit.redaction import redacted
from agents.ids import new_event_id
from agents.sessions.events import Event, EventType, SessionStatus
from agents.store.audit_writing import add_entries
from agents.store.batch import under_hold
from agents.store.codec import event_of, event_row, micros
from agents.store.log_chain import chain_rows, link_at
from agents.store.tables import audit_holds, audit_redactions, events, sessions

_KEY: BindParameter[str] = bindparam("key")
_SESSION = select(sessions.c.seq, sessions.c.status).where(sessions.c.id == _KEY).with_for_update()
_HELD = select(audit_holds.c.session_id).where(audit_holds.c.session_id == _KEY)
_EVENT = select(events).where(events.c.id == bindparam("event"), events.c.session_id == _KEY)
_DONE = select(audit_redactions.c.seq).where(
    audit_redactions.c.session_id == _KEY, audit_redactions.c.seq == bindparam("at")
)
_BUSY = (SessionStatus.RUNNING.value, SessionStatus.RESCHEDULING.value)


def redact(connection: Connection, session_id: str, event_id: str, entry: AuditEntry, now: datetime) -> None:
    """See AuditTrail.redact. Raises NotFound, Conflict, InvalidRequest."""
    chosen = {"key": session_id}
    session = connection.execute(_SESSION, chosen).first()
    if session is None:
        raise NotFound(f"session {session_id} not found")
    if connection.execute(_HELD, chosen).first() is not None:
        raise under_hold(session_id)
    if session.status in _BUSY:
        raise Conflict(f"session {session_id} is running: interrupt it first")
    row = connection.execute(_EVENT, {**chosen, "event": event_id}).mappings().first()
    if row is None:
        raise NotFound(f"event {event_id} not found in the log of session {session_id}")
    if connection.execute(_DONE, {**chosen, "at": row["seq"]}).first() is not None:
        raise Conflict(f"event {event_id} was redacted before")
    shown = event_row(session_id, redacted(event_of(row)), row["seq"])
    before, after = row_digest(row), row_digest(shown)
    links = {"session": session_id, "seq": row["seq"], "before": before, "after": after}
    [placed] = add_entries(connection, [replace(entry, detail={**entry.detail, **links})])
    # The link of an event from before the trail can be computed only as long as its content is there.
    changed = {"body": shown["body"], "hidden": shown["hidden"], "link": link_at(connection, session_id, row["seq"])}
    connection.execute(update(events).where(events.c.id == event_id), changed).close()
    known = {"session_id": session_id, "seq": row["seq"], "digest_before": before, "digest_after": after}
    connection.execute(insert(audit_redactions), {**known, "entry": placed.seq}).close()
    _grow(connection, session_id, session.seq, now)


def _grow(connection: Connection, session_id: str, seq: int, now: datetime) -> None:
    row = event_row(session_id, Event(new_event_id(), EventType.SESSION_UPDATED, {}, now), seq + 1)
    chain_rows([row], link_at(connection, session_id, seq))
    connection.execute(insert(events), row).close()
    grown = {"seq": seq + 1, "updated_at": micros(now)}
    connection.execute(update(sessions).where(sessions.c.id == session_id), grown).close()
