"""What a session and its threads are doing, as the log tells it: how they come to run, to wait, to try again, to end.

Threads change; the session is what they are together: running while any of them runs, idle when all of them rest.

Like all that drafts events (see ``transitions``), nothing here waits or calls anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agents.hands.servers.port import SERVER_INTENT
from agents.sessions.budget import Budgets
from agents.sessions.compaction import Compaction
from agents.sessions.delegation import report
from agents.sessions.draft import Draft
from agents.sessions.events import TAKEN_UP, EventType, SessionRecord, SessionStatus
from agents.sessions.served import ServedTool
from agents.sessions.thread_state import BUDGET_REACHED, RETRIES_EXHAUSTED


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
    """Have the thread run: first the session, if no thread of it did, then the thread (spec H-1)."""
    row = draft.state.row
    if row is not None and row.running_since is None:
        draft.state.row = replace(row, running_since=draft.now)
    if draft.session.record.running_since is None:
        draft.session.set(running_since=draft.now)
    if draft.session.status is not SessionStatus.RUNNING:
        draft.emit_session(EventType.SESSION_RUNNING)
    _emit_status(draft, EventType.THREAD_RUNNING)


def go_idle(
    draft: Draft, rules: TurnRules, stop_reason: dict[str, Any], stop_details: dict[str, Any] | None = None
) -> None:
    """End the thread's turn: thread idle, and when no other thread is busy usage and session idle, directly after."""
    stop_thread(draft, stop_reason, stop_details)
    rest(draft, rules)


def stop_thread(draft: Draft, stop_reason: dict[str, Any], stop_details: dict[str, Any] | None = None) -> None:
    """End the thread's turn alone: where several end in one draft the session comes to ``rest`` after the last."""
    _stop_clock(draft)
    _emit_status(draft, EventType.THREAD_IDLE, stop_reason=stop_reason, stop_details=stop_details)
    if draft.state.advises and stop_reason != BUDGET_REACHED:
        _emit_status(draft, EventType.THREAD_TERMINATED)


def archive_thread(draft: Draft, rules: TurnRules) -> None:
    """Make an idle thread final and free its place; what it waited for is waited for no longer."""
    row, waited = draft.state.row, bool(draft.state.calls)
    assert row is not None, "only a thread that was created is archived, and it has a row"
    take_messages(draft)
    _emit_status(draft, EventType.THREAD_TERMINATED)
    draft.state.row = replace(row, archived_at=draft.now)
    if waited:
        rest(draft, rules)


def _stop_clock(draft: Draft) -> None:
    row = draft.state.row
    if row is not None and row.running_since is not None:
        spent = max(0.0, (draft.now - row.running_since).total_seconds())
        draft.state.row = replace(row, active_seconds=row.active_seconds + spent, running_since=None)


def rest(draft: Draft, rules: TurnRules) -> None:
    """Have the session be what its threads are together, after some of them have come to rest."""
    threads, record = draft.session.threads.values(), draft.session.record
    if any(thread.busy or thread.wakes for thread in threads):
        # One that wakes runs in this commit, too: see ``transitions.wake``.
        runs = any(thread.status is SessionStatus.RUNNING or thread.wakes for thread in threads)
        if record.status is SessionStatus.RUNNING and not runs:
            draft.emit_session(EventType.SESSION_RESCHEDULED)
        return
    if record.running_since is not None:
        spent = max(0.0, (draft.now - record.running_since).total_seconds())
        draft.session.set(active_seconds=record.active_seconds + spent, running_since=None)
    usage = rules.usage_wire(draft.session.record, draft.now)
    draft.emit_session(EventType.SESSION_USAGE, {"usage": usage, "budget": record.budget})
    draft.emit_session(EventType.SESSION_IDLE, _stop(draft))


def _stop(draft: Draft) -> dict[str, Any]:
    """Say why the session is idle: what the client must do comes first, then the budget, then the primary's reason."""
    threads = [thread for thread in draft.session.threads.values() if thread.status is SessionStatus.IDLE]
    reasons = [thread.stop_reason for thread in threads if thread.stop_reason is not None]
    waiting = [each for reason in reasons if reason["type"] == "requires_action" for each in reason["event_ids"]]
    if waiting:
        return {"stop_reason": {"type": "requires_action", "event_ids": waiting}, "stop_details": None}
    if BUDGET_REACHED in reasons:
        return {"stop_reason": BUDGET_REACHED, "stop_details": None}
    primary = draft.session.primary
    return {"stop_reason": primary.stop_reason, "stop_details": primary.stop_details}


def go_rescheduling(draft: Draft) -> None:
    """Have the thread wait for its next attempt, in the order of ``go_running``."""
    others = [thread for thread in draft.session.threads.values() if thread is not draft.state]
    if not any(thread.status is SessionStatus.RUNNING for thread in others):
        draft.emit_session(EventType.SESSION_RESCHEDULED)
    _emit_status(draft, EventType.THREAD_RESCHEDULED)


def terminate(draft: Draft) -> None:
    """Make the session final, and every thread of it."""
    for thread in list(draft.session.threads.values()):
        if thread.status is not SessionStatus.TERMINATED:
            _emit_status(draft.of(thread), EventType.THREAD_TERMINATED)
    draft.emit_session(EventType.SESSION_TERMINATED)


def take_messages(draft: Draft) -> None:
    """Take every waiting message into the log."""
    for event in [event for event in draft.state.queue if event.type in TAKEN_UP]:
        draft.take(event)


def take_reports(draft: Draft) -> None:
    """Take what other threads have told this one into the log: it knows, but starts no turn on it."""
    for event in [event for event in draft.state.queue if event.type is EventType.THREAD_MESSAGE_RECEIVED]:
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
    """End the turn for good: the error, then waiting input is flushed into the log, then idle.

    A thread that was created to delegate to it is terminated, and the primary told so.
    """
    report_error(draft, type_, message, "exhausted")
    take_messages(draft)
    if draft.state.primary:
        go_idle(draft, rules, RETRIES_EXHAUSTED)
    else:
        report(draft, f"(The agent could not go on: {message})")
        end_thread(draft, rules)


def end_thread(draft: Draft, rules: TurnRules) -> None:
    """Make a thread that was created to delegate to it final."""
    _stop_clock(draft)
    _emit_status(draft, EventType.THREAD_TERMINATED)
    rest(draft, rules)


def _emit_status(draft: Draft, type_: EventType, **more: Any) -> None:
    thread = draft.state
    body = {"session_thread_id": thread.id, "agent_name": thread.agent["name"], **more}
    draft.emit(type_, body, crossposted=True)
