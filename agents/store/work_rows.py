"""How keys of environments and items of work become rows, and rows become them: see ``codec`` for the rules."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

from agents.ids import new_id
from agents.sessions.events import SessionRecord, SessionStatus
from agents.store.codec import Row, RowView, decode, encode, micros, moment_at
from agents.workers.records import EnvironmentKeyRecord, SessionStanding, WorkItem, WorkState

_BUSY = (SessionStatus.RUNNING.value, SessionStatus.RESCHEDULING.value)
_ITEM = tuple(each.name for each in fields(WorkItem))
_KEY = tuple(each.name for each in fields(EnvironmentKeyRecord))


def _moments(record: object, names: tuple[str, ...]) -> Row:
    values = {name: getattr(record, name) for name in names}
    return {name: micros(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _is_moment(name: str) -> bool:
    return name.endswith("_at") or name == "lease_until"


def _values(row: RowView, names: tuple[str, ...]) -> Row:
    values = {name: row[name] for name in names}
    return {
        name: moment_at(value) if _is_moment(name) and value is not None else value for name, value in values.items()
    }


def work_row(item: WorkItem) -> Row:
    row = _moments(item, _ITEM)
    return row | {
        "state": item.state.value,
        "tokens": encode(list(item.tokens)),
        "metadata": encode(dict(item.metadata)),
    }


def work_of(row: RowView) -> WorkItem:
    values = _values(row, _ITEM)
    values |= {
        "state": WorkState(values["state"]),
        "tokens": tuple(decode(values["tokens"])),
        "metadata": decode(values["metadata"]),
    }
    return WorkItem(**values)


def first_item_row(session: SessionRecord) -> Row:
    """Return the row of a new item for a session that has, or gets, something for a worker to do."""
    now = session.updated_at
    return work_row(WorkItem(new_id("work"), session.environment_id, session.id, created_at=now, available_at=now))


def last_item_row(session: SessionRecord) -> Row:
    """Return what becomes of the item of a session that is over, while it is ``found`` in the queue."""
    return {
        "session_id": session.id,
        "found": WorkState.QUEUED.value,
        "state": WorkState.STOPPED.value,
        "stopped_at": micros(session.updated_at),
    }


def key_row(key: EnvironmentKeyRecord) -> Row:
    return _moments(key, _KEY)


def key_of(row: RowView) -> EnvironmentKeyRecord:
    return EnvironmentKeyRecord(**_values(row, _KEY))


def standing_of(session: RowView) -> SessionStanding:
    """Return what a session's row says of whether a worker has something to do for it."""
    status: str = session["status"]
    stop_reason: dict[str, Any] | None = decode(session["state"])["stop_reason"]
    waits = stop_reason is not None and stop_reason["type"] == "requires_action"
    wanted = status in _BUSY or (status == SessionStatus.IDLE.value and (waits or session["queued"] > 0))
    return SessionStanding(session["seq"], wanted)
