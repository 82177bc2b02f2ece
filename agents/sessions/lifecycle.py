"""What a session is doing, as its log tells it: how it comes to run, to wait, to try again, to end.

Like all that drafts events (see ``transitions``), nothing here waits or calls anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.hands.servers.port import SERVER_INTENT
from agents.sessions.budget import Budgets
from agents.sessions.compaction import Compaction
from agents.sessions.draft import Draft
from agents.sessions.events import EventType, SessionRecord
from agents.sessions.served import ServedTool

END_TURN: dict[str, Any] = {"type": "end_turn"}
RETRIES_EXHAUSTED: dict[str, Any] = {"type": "retries_exhausted"}


@dataclass(frozen=True, slots=True)
class TurnRules:
    """What the state machine must know beside the log."""

    max_tool_rounds: int
    usage_wire: Callable[[SessionRecord, datetime], dict[str, Any]]
    budgets: Budgets
    compaction: Compaction
    place: Callable[[SessionRecord], str | None] = lambda _: None
    """Names the sandbox host that new calls of the session would go to; None when that is not known yet."""
    destination: Callable[[ServedTool], str | None] = lambda _: SERVER_INTENT
    """Names where a new call of this tool would go to, likewise."""


def go_running(draft: Draft) -> None:
    """Enter ``running``: session first, then its primary thread (spec H-1)."""
    if draft.state.record.running_since is None:
        draft.state.set(running_since=draft.now)
    draft.emit(EventType.SESSION_RUNNING)
    draft.emit(EventType.THREAD_RUNNING, _thread_body(draft))


def go_idle(
    draft: Draft, rules: TurnRules, stop_reason: dict[str, Any], stop_details: dict[str, Any] | None = None
) -> None:
    """End the turn: thread idle, usage, session idle, with nothing between the last two."""
    record = draft.state.record
    if record.running_since is not None:
        spent = max(0.0, (draft.now - record.running_since).total_seconds())
        draft.state.set(active_seconds=record.active_seconds + spent, running_since=None)
    stop = {"stop_reason": stop_reason, "stop_details": stop_details}
    draft.emit(EventType.THREAD_IDLE, _thread_body(draft, **stop))
    usage = rules.usage_wire(draft.state.record, draft.now)
    draft.emit(EventType.SESSION_USAGE, {"usage": usage, "budget": draft.state.record.budget})
    draft.emit(EventType.SESSION_IDLE, stop)


def go_rescheduling(draft: Draft) -> None:
    """Enter ``rescheduling``, in the order of ``go_running``."""
    draft.emit(EventType.SESSION_RESCHEDULED)
    draft.emit(EventType.THREAD_RESCHEDULED, _thread_body(draft))


def terminate(draft: Draft) -> None:
    """Make the session final."""
    draft.emit(EventType.THREAD_TERMINATED, _thread_body(draft))
    draft.emit(EventType.SESSION_TERMINATED)


def take_messages(draft: Draft) -> None:
    """Take every waiting message into the log."""
    for event in [event for event in draft.state.queue if event.type is EventType.USER_MESSAGE]:
        draft.take(event)


def report_error(
    draft: Draft,
    type_: str,
    message: str,
    retry_status: str,
    *,
    server: str | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Log an error of the session; *retry_status* says what becomes of what failed, *server* which MCP server did.

    *about* are further fields of this type of error.
    """
    error: dict[str, Any] = {"type": type_, "message": message, "retry_status": {"type": retry_status}, **(about or {})}
    if server is not None:
        error["mcp_server_name"] = server
    draft.emit(EventType.SESSION_ERROR, {"error": error})


def give_up(draft: Draft, rules: TurnRules, type_: str, message: str) -> None:
    """End the turn for good: the error, then waiting input is flushed into the log, then idle."""
    report_error(draft, type_, message, "exhausted")
    take_messages(draft)
    go_idle(draft, rules, RETRIES_EXHAUSTED)


def _thread_body(draft: Draft, **more: Any) -> dict[str, Any]:
    record = draft.state.record
    return {"session_thread_id": record.thread_id, "agent_name": record.agent["name"], **more}
