"""What follows from what: the session's state machine as functions that draft events (spec B.3).

Nothing here waits or calls anything: each function turns a state and an occurrence into events, so
that the loop is a function of the log. ``follow_up`` closes every draft of a running session: it adds
the next model request or the idle sequence, whichever the state asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agents.brains.assembly import Answer, Block, TokenUsage
from agents.brains.port import BrainFailure
from agents.hands.port import ToolResult
from agents.ids import EventId
from agents.sessions.budget import Budgets
from agents.sessions.compaction import Compaction, too_long
from agents.sessions.draft import Draft
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus, Usage
from agents.sessions.ledger import fold_result, intend
from agents.sessions.permissions import Toolbox

END_TURN: dict[str, Any] = {"type": "end_turn"}
RETRIES_EXHAUSTED: dict[str, Any] = {"type": "retries_exhausted"}
BUDGET_REACHED: dict[str, Any] = {"type": "budget_reached"}

_ERROR_TYPES = {
    "overloaded": "model_overloaded_error",
    "rate_limited": "model_rate_limited_error",
    "request_failed": "model_request_failed_error",
    "billing": "billing_error",
    "unknown": "unknown_error",
}


@dataclass(frozen=True, slots=True)
class TurnRules:
    """What the state machine must know beside the log."""

    max_tool_rounds: int
    usage_wire: Callable[[SessionRecord, datetime], dict[str, Any]]
    budgets: Budgets
    compaction: Compaction
    place: Callable[[SessionRecord], str | None] = lambda _: None
    """Names the sandbox host that new calls of the session would go to; None when that is not known yet."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one model request consumed so far; also meaningful for one that failed or was interrupted."""

    usage: TokenUsage = field(default_factory=TokenUsage)
    micro_usd: int = 0
    brain: dict[str, Any] | None = None
    """Which brain it went to and why, as the log tells it; None when brains are not declared."""

    def __add__(self, later: Spent) -> Spent:
        return Spent(self.usage + later.usage, self.micro_usd + later.micro_usd, later.brain or self.brain)


def _text(message: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": message}]


def _thread_body(draft: Draft, **more: Any) -> dict[str, Any]:
    record = draft.state.record
    return {"session_thread_id": record.thread_id, "agent_name": record.agent["name"], **more}


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


def pause(draft: Draft, rules: TurnRules) -> bool:
    """Go idle when the budget is used up, before the next model request; says whether it is. Input goes on waiting."""
    # A pending interrupt ends the turn in its own way, and must not be left behind.
    used_up = not draft.state.interrupted and rules.budgets.used_up(draft.state.record, draft.now)
    if used_up:
        close_request(draft, Spent(), is_error=True)
        go_idle(draft, rules, BUDGET_REACHED)
    return used_up


def take_messages(draft: Draft) -> None:
    """Take every waiting message into the log."""
    for event in [event for event in draft.state.queue if event.type is EventType.USER_MESSAGE]:
        draft.take(event)


def start_request(draft: Draft, rules: TurnRules) -> None:
    """Open the next model request: one for a summary when the context has become too long for any other."""
    keeps = rules.compaction.due(draft.state)
    if keeps is None:
        draft.emit(EventType.MODEL_REQUEST_START)
    elif (futile := draft.state.conversation.futile) >= rules.compaction.max_futile:
        words = f"The conversation is too long for the model, and {futile} summaries in a row made it no shorter."
        _give_up(draft, rules, "compaction_limit_reached_error", words)
    else:
        draft.emit(EventType.MODEL_REQUEST_START, hidden={"keeps": keeps})


def close_request(draft: Draft, spent: Spent, *, is_error: bool, hidden: dict[str, Any] | None = None) -> None:
    """End the open model request and count what it cost; it always ends, also on error and interrupt.

    *hidden* tells later owners how long the context is: ``tokens`` by the model's count, ``too_long`` if refused.
    """
    start_id = draft.state.open_request
    if start_id is None:
        return
    usage = spent.usage
    _add_usage(draft, spent)
    body: dict[str, Any] = {
        "model_request_start_id": start_id,
        "is_error": is_error,
        "model_usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_creation_input_tokens": usage.cache_creation_5m + usage.cache_creation_1h,
            "cache_read_input_tokens": usage.cache_read_input_tokens,
        },
    }
    if spent.brain is not None:
        body["brain"] = spent.brain
    draft.emit(EventType.MODEL_REQUEST_END, body, hidden=hidden)


def _add_usage(draft: Draft, spent: Spent) -> None:
    total, usage = draft.state.record.usage, spent.usage
    draft.state.set(
        usage=Usage(
            input_tokens=total.input_tokens + usage.input_tokens,
            output_tokens=total.output_tokens + usage.output_tokens,
            cache_read_input_tokens=total.cache_read_input_tokens + usage.cache_read_input_tokens,
            cache_creation_5m_input_tokens=total.cache_creation_5m_input_tokens + usage.cache_creation_5m,
            cache_creation_1h_input_tokens=total.cache_creation_1h_input_tokens + usage.cache_creation_1h,
            token_cost_micro_usd=total.token_cost_micro_usd + spent.micro_usd,
        )
    )


def record_answer(
    draft: Draft, rules: TurnRules, answer: Answer, spent: Spent, toolbox: Toolbox, preview_ids: dict[int, EventId]
) -> None:
    """Log a complete model answer and what follows from it."""
    refused: list[tuple[EventId, str]] = []
    for index, block in enumerate(answer.blocks):
        event_id = preview_ids.get(index)
        if block.kind == "thinking":
            draft.emit(EventType.AGENT_THINKING, event_id=event_id, hidden={"block": block.raw})
        elif block.kind == "tool_use":
            refusal = _record_call(draft, toolbox, block)
            if refusal is not None:
                refused.append(refusal)
        elif block.text:
            draft.emit(EventType.AGENT_MESSAGE, {"content": _text(block.text)}, event_id=event_id)
    # Of this answer alone: what was spent may hold answers that were lost.
    tokens = answer.usage.total
    close_request(draft, spent, is_error=False, hidden={"tokens": tokens} if tokens else None)
    for call_id, reason in refused:
        _close_call(draft, call_id, reason)
    if answer.stop_reason == "refusal":
        close_open_calls(draft, "The call was not run: the model declined to continue.")
        go_idle(draft, rules, {"type": "refusal"}, _refusal_details(answer.stop_details))
    else:
        follow_up(draft, rules)


def _refusal_details(details: dict[str, Any] | None) -> dict[str, Any]:
    details = details or {}
    return {
        "type": "refusal",
        "category": details.get("category"),
        "explanation": details.get("explanation"),
    }


def _record_call(draft: Draft, toolbox: Toolbox, block: Block) -> tuple[EventId, str] | None:
    """Log one tool use; returns its id and the reason when it is refused before any policy."""
    name, tool_input = block.name or "", block.input
    verdict = toolbox.judge(name)
    if block.input_error is not None or tool_input is None or verdict.kind == "refused":
        reason = (
            f"The input of {name} was not a JSON object: {block.input_error}."
            if verdict.kind != "refused"
            else f"The tool {name!r} is not available in this session."
        )
        body = {"name": name, "input": tool_input or {}, "evaluated_permission": "deny"}
        return draft.emit(EventType.AGENT_TOOL_USE, body).id, reason
    if verdict.kind == "custom":
        draft.emit(EventType.AGENT_CUSTOM_TOOL_USE, {"name": name, "input": tool_input})
        return None
    body = {
        "name": name,
        "input": tool_input,
        "evaluated_permission": verdict.permission,
        "evaluation": verdict.evaluation,
    }
    draft.emit(EventType.AGENT_TOOL_USE, body)
    return None


def _close_call(draft: Draft, call_id: EventId, reason: str) -> None:
    call = draft.state.calls[call_id]
    if (host := draft.state.record.dispatched.get(call_id)) is not None:
        draft.called_off[call_id] = host
    if call.kind == "custom":
        # No server event answers a custom call; closing it in the client's own form keeps history
        # well formed and tells a reconnecting tool runner that the call is settled (ADR 0003).
        body = {"custom_tool_use_id": call_id, "content": _text(reason), "is_error": True}
        draft.emit(EventType.USER_CUSTOM_TOOL_RESULT, body)
    else:
        body = {"tool_use_id": call_id, "content": _text(reason), "is_error": True}
        draft.emit(EventType.AGENT_TOOL_RESULT, body)


def close_open_calls(draft: Draft, reason: str) -> None:
    """Give every open call an error result."""
    for call_id in list(draft.state.calls):
        _close_call(draft, call_id, reason)


def close_denied_calls(draft: Draft) -> None:
    """Give every call that the client denied its error result, with the client's words."""
    for call in list(draft.state.calls.values()):
        if call.decision == "deny":
            words = f" The user said: {call.deny_message}" if call.deny_message else ""
            _close_call(draft, call.id, f"The user denied this tool call; it was not run.{words}")


def record_results(draft: Draft, rules: TurnRules, results: list[ToolResult]) -> None:
    """Log what hands returned, one result per call ever (law 5), and what follows."""
    for result in results:
        if EventId(result.call_id) in draft.state.calls:
            body = {"tool_use_id": result.call_id, "content": result.content, "is_error": result.is_error}
            draft.emit(EventType.AGENT_TOOL_RESULT, body, hidden={"outcome": "ambiguous"} if result.ambiguous else None)
            draft.state.record = fold_result(draft.state.record, result)
    follow_up(draft, rules)


def follow_up(draft: Draft, rules: TurnRules) -> None:
    """Add what a running session does next, unless tools must run (or are running) first."""
    state = draft.state
    if state.status is not SessionStatus.RUNNING or state.open_request is not None or state.interrupted:
        return
    if runnable := state.runnable_calls():
        _place(draft, rules, [call.id for call in runnable if call.id not in state.record.dispatched])
        return
    if not state.blocking_ids():
        close_denied_calls(draft)
    if state.calls:
        go_idle(draft, rules, {"type": "requires_action", "event_ids": list(state.blocking_ids())})
        return
    if not (state.messages_wait or state.conversation.awaits_model):
        go_idle(draft, rules, END_TURN)
        return
    if pause(draft, rules):
        return
    take_messages(draft)
    if state.rounds >= rules.max_tool_rounds:
        _give_up(
            draft,
            rules,
            "tool_use_limit_reached_error",
            f"The turn made {state.rounds} model requests, which is the limit.",
        )
    else:
        start_request(draft, rules)


def _place(draft: Draft, rules: TurnRules, calls: list[EventId]) -> None:
    """Note where these calls will be sent, if that is known: then no commit of its own is needed for it."""
    if calls and (host := rules.place(draft.state.record)) is not None:
        intend(draft, dict.fromkeys(calls, host))


def settle(draft: Draft, rules: TurnRules, confirmations: list[Event]) -> None:
    """Go on after client answers to blocking calls, or list what is still missing.

    Called for an idle session that waits for its client. *confirmations* still wait in the queue and
    settle the last blocking calls: they are taken up once the session runs.
    """
    missing = set(draft.state.blocking_ids()) - {event.body["tool_use_id"] for event in confirmations}
    if missing:
        ids = [call_id for call_id in draft.state.blocking_ids() if call_id in missing]
        go_idle(draft, rules, {"type": "requires_action", "event_ids": ids})
        return
    go_running(draft)
    for event in confirmations:
        draft.take(event)
    follow_up(draft, rules)


def _error(draft: Draft, type_: str, message: str, retry_status: str) -> None:
    error = {"type": type_, "message": message, "retry_status": {"type": retry_status}}
    draft.emit(EventType.SESSION_ERROR, {"error": error})


def _give_up(draft: Draft, rules: TurnRules, type_: str, message: str) -> None:
    """End the turn for good: the error, then waiting input is flushed into the log, then idle."""
    _error(draft, type_, message, "exhausted")
    take_messages(draft)
    go_idle(draft, rules, RETRIES_EXHAUSTED)


def record_failure(draft: Draft, rules: TurnRules, failure: BrainFailure, spent: Spent, *, max_attempts: int) -> None:
    """Log a failed model request: reschedule it, or end the turn when it cannot be helped.

    One that was too long is made again once the context is shorter; one for a summary is itself made shorter.
    """
    summarizing, overlong = draft.state.keeps is not None, too_long(failure)
    close_request(draft, spent, is_error=True, hidden={"too_long": True} if overlong else None)
    if overlong and not summarizing:
        follow_up(draft, rules)
        return
    type_ = _ERROR_TYPES[failure.kind]
    if (failure.transient or overlong) and draft.state.failures < max_attempts:
        _error(draft, type_, failure.message, "retrying")
        if not pause(draft, rules):
            draft.emit(EventType.SESSION_RESCHEDULED)
            draft.emit(EventType.THREAD_RESCHEDULED, _thread_body(draft))
    else:
        _give_up(draft, rules, type_, failure.message)


def resume_request(draft: Draft, rules: TurnRules) -> None:
    """Leave ``rescheduling`` and make the model request again, with what was said meanwhile."""
    if not pause(draft, rules):
        go_running(draft)
        take_messages(draft)
        start_request(draft, rules)


def resume_paused(draft: Draft, rules: TurnRules) -> None:
    """Go on where the budget stopped the session, if there is something to spend again."""
    if draft.state.paused and not rules.budgets.used_up(draft.state.record, draft.now):
        go_running(draft)
        follow_up(draft, rules)


def apply_interrupt(draft: Draft, rules: TurnRules, spent: Spent) -> None:
    """Stop the turn: open request ended, interrupt processed, open calls closed, idle ``end_turn``.

    Messages that wait start the next turn at once.
    """
    close_request(draft, spent, is_error=True)
    _take_interrupts(draft)
    close_open_calls(draft, "The call was interrupted by the user.")
    go_idle(draft, rules, END_TURN)
    begin_turn(draft, rules)


def _take_interrupts(draft: Draft) -> None:
    for event in [event for event in draft.state.queue if event.type is EventType.USER_INTERRUPT]:
        draft.take(event)


def give_up_turn(draft: Draft, rules: TurnRules, message: str) -> None:
    """End a turn that nobody gets on with, wherever it stands; *message* says why."""
    close_request(draft, Spent(), is_error=True)
    _take_interrupts(draft)
    close_open_calls(draft, "The turn was given up before the call's result came: it may or may not have taken effect.")
    _give_up(draft, rules, "unknown_error", message)


def begin_turn(draft: Draft, rules: TurnRules) -> None:
    """Start a turn on waiting messages, if there are any."""
    if draft.state.messages_wait:
        go_running(draft)
        _report_servers(draft)
        if not pause(draft, rules):
            take_messages(draft)
            start_request(draft, rules)


def _report_servers(draft: Draft) -> None:
    """Say once per session which MCP servers could not be connected; the session goes on (spec C.4)."""
    for server in draft.state.record.agent["mcp_servers"]:
        if server["name"] not in draft.state.failed_servers:
            error = {
                "type": "mcp_connection_failed_error",
                "mcp_server_name": server["name"],
                "message": f"{server['name']}: this release has no MCP client yet; its tools are not offered.",
                "retry_status": {"type": "exhausted"},
            }
            draft.emit(EventType.SESSION_ERROR, {"error": error})


def terminate(draft: Draft) -> None:
    """Make the session final."""
    draft.emit(EventType.THREAD_TERMINATED, _thread_body(draft))
    draft.emit(EventType.SESSION_TERMINATED)
