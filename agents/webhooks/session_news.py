"""What a commit of a session tells webhooks: a function of its events and its row alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.sessions.events import Event, SessionRecord
from agents.webhooks.announcing import Announcement

_NAMES: dict[str, tuple[str, ...]] = {
    # Two names for one thing: the first is the documented one, the second only in the SDK's types.
    "session.status_running": ("session.status_run_started", "session.running"),
    "session.status_idle": ("session.status_idled", "session.idled"),
    "session.status_rescheduled": ("session.status_rescheduled",),
    "session.status_terminated": ("session.status_terminated",),
    "session.updated": ("session.updated",),
    "session.thread_created": ("session.thread_created",),
    "session.thread_status_idle": ("session.thread_idled",),
    "session.thread_status_terminated": ("session.thread_terminated",),
    "span.outcome_evaluation_end": ("session.outcome_evaluation_ended",),
}
"""By the types of events, as text."""
_STOPS: dict[Any, tuple[str, ...]] = {
    "requires_action": ("session.requires_action",),
    "budget_reached": ("session.budget_reached",),
}
"""By why a session became idle."""
_THREAD = "session_thread_id"


def session_news(record: SessionRecord, events: Sequence[Event], *, created: bool) -> list[Announcement]:
    """Return what is to be told of a commit that leaves *record* and adds *events*."""
    session, workspace = record.id, record.workspace_id
    told: list[Announcement] = []
    if created:
        told.append(Announcement("session.created", session, workspace, record.created_at))
    for event in events:
        type_ = event.type._value_  # ``value`` is a call in Python
        names = _NAMES.get(type_)
        if names is None:
            continue
        if type_ == "session.status_idle":
            reason: dict[str, Any] = event.body.get("stop_reason") or {}
            names += _STOPS.get(reason.get("type"), ())
        thread = {_THREAD: event.body.get(_THREAD, record.thread_id)} if type_.startswith("session.thread_") else {}
        at = event.processed_at or record.updated_at
        told += [Announcement(name, session, workspace, at, thread) for name in names]
    if record.archived_at is not None and record.archived_at == record.updated_at:
        # An archived session is terminated, so that nothing is committed of it later.
        told.append(Announcement("session.archived", session, workspace, record.archived_at))
    return told
