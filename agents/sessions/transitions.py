"""What follows from what: the session's state machine as functions that draft events (spec B.3).

Nothing here waits or calls anything: each function turns a state and an occurrence into events, so
that the loop is a function of the log. ``follow_up`` closes every draft of a running session: it adds
the next model request or the idle sequence, whichever the state asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.brains.assembly import Answer
from agents.brains.port import BrainFailure
from agents.hands.port import ToolResult
from agents.hands.servers.port import ServerResult
from agents.ids import EventId
from agents.sessions.compaction import too_long
from agents.sessions.delegation import report, run_call
from agents.sessions.draft import Draft
from agents.sessions.evaluation import begin_evaluation, end_evaluation, interrupt_outcome
from agents.sessions.events import Event, EventType, SessionStatus, text_content
from agents.sessions.ledger import fold_result, intend
from agents.sessions.lifecycle import (
    TurnRules,
    give_up,
    go_idle,
    go_rescheduling,
    go_running,
    report_error,
    take_messages,
    take_reports,
)
from agents.sessions.model_requests import Spent, close_request, pause, start_request
from agents.sessions.outcome import FAILED
from agents.sessions.permissions import Permission, Toolbox
from agents.sessions.served import account, counted
from agents.sessions.thread_state import END_TURN, OpenCall
from agents.sessions.tool_calls import close_call, close_denied_calls, close_open_calls, log_result, record_call

ERROR_TYPES = {
    "overloaded": "model_overloaded_error",
    "rate_limited": "model_rate_limited_error",
    "request_failed": "model_request_failed_error",
    "billing": "billing_error",
    "unknown": "unknown_error",
}
"""Types of ``session.error`` by the kind of a brain's failure."""


def record_answer(
    draft: Draft,
    rules: TurnRules,
    answer: Answer,
    spent: Spent,
    toolbox: Toolbox,
    preview_ids: dict[int, EventId],
    *,
    offers: dict[str, Any] | None = None,
    judged: Mapping[int, Permission] | None = None,
) -> None:
    """Log a complete model answer and what follows from it; *offers* is what its end keeps of servers' offers.

    *judged* says what becomes of the calls that were judged, by the places of their blocks.
    """
    refused: list[tuple[EventId, str]] = []
    for index, block in enumerate(answer.blocks):
        event_id = preview_ids.get(index)
        if block.kind == "thinking":
            draft.emit(EventType.AGENT_THINKING, event_id=event_id, hidden={"block": block.raw})
        elif block.kind == "tool_use":
            refusal = record_call(draft, toolbox, block, (judged or {}).get(index))
            if refusal is not None:
                refused.append(refusal)
        elif block.text:
            draft.emit(EventType.AGENT_MESSAGE, {"content": text_content(block.text)}, event_id=event_id)
    # Of this answer alone: what was spent may hold answers that were lost.
    tokens = answer.usage.total
    hidden = ({"tokens": tokens} if tokens else {}) | (offers or {})
    close_request(draft, spent, is_error=False, hidden=hidden or None)
    for call_id, reason in refused:
        close_call(draft, call_id, reason)
    if answer.stop_reason == "refusal" and not draft.state.interrupted:
        close_open_calls(draft, "The call was not run: the model declined to continue.")
        report(draft, "(The model declined to go on.)")
        _take_lone_remark(draft)
        go_idle(draft, rules, {"type": "refusal"}, _refusal_details(answer.stop_details))
        begin_turn(draft, rules)
    else:
        run_internal_calls(draft)
        follow_up(draft, rules)


def run_internal_calls(draft: Draft) -> None:
    """Give the calls that concern nothing but the session their results; an interrupt that waits closes them."""
    if draft.state.interrupted:
        return
    for call in [call for call in draft.state.calls.values() if call.kind == "internal"]:
        content, is_error = run_call(draft, call)
        log_result(draft, call, content, is_error=is_error)


def _refusal_details(details: dict[str, Any] | None) -> dict[str, Any]:
    details = details or {}
    return {
        "type": "refusal",
        "category": details.get("category"),
        "explanation": details.get("explanation"),
    }


def record_results(draft: Draft, rules: TurnRules, results: list[ToolResult]) -> None:
    """Log what hands returned, one result per call ever (law 5), and what follows."""
    for result in results:
        _report_unreachable(draft, result)
        for problem in result.problems:
            report_error(draft, problem.type, problem.message, "retrying", about=problem.about)
        if (call := draft.state.calls.get(EventId(result.call_id))) is not None:
            hidden = {"outcome": "ambiguous"} if result.ambiguous else None
            log_result(draft, call, result.content, is_error=result.is_error, hidden=hidden)
            draft.session.record = fold_result(draft.session.record, result)
    follow_up(draft, rules)


def _report_unreachable(draft: Draft, result: ToolResult) -> None:
    """Log once of each credential that the environment does not allow its hosts."""
    for found in result.unreachable:
        if found.credential_id not in draft.session.unreachable_credentials:
            message = f"the environment's networking does not allow {found.host}, which this credential is for"
            about = {"credential_id": found.credential_id, "vault_id": found.vault_id}
            report_error(draft, "credential_host_unreachable_error", message, "retrying", about=about)


def record_served(draft: Draft, rules: TurnRules, result: ServerResult, kept: ToolResult | None = None) -> None:
    """Log what a server returned, one result per call ever (law 5), with what its bill is made of, and what follows.

    *kept* is what the sandbox said that has taken a text that was too long to be shown.
    """
    if kept is not None:
        draft.session.record = fold_result(draft.session.record, kept)
    call = draft.state.calls.get(EventId(result.call_id))
    if call is not None and call.served is not None:
        log_result(draft, call, result.content, is_error=result.is_error, hidden=account(call.served, result))
        tool = call.served
        draft.state.use(lambda usage: counted(usage, tool, result))
    follow_up(draft, rules)


def follow_up(draft: Draft, rules: TurnRules) -> None:
    """Add what a running session does next, unless tools must run (or are running) first."""
    state = draft.state
    if state.status is not SessionStatus.RUNNING or state.interrupted:
        return
    if state.open_request is not None or state.grading is not None:
        return
    if runnable := state.runnable_calls():
        _place(draft, rules, [call for call in runnable if call.id not in state.record.dispatched])
        return
    if not state.blocking_ids():
        close_denied_calls(draft)
    if state.calls:
        go_idle(draft, rules, {"type": "requires_action", "event_ids": list(state.blocking_ids())})
        return
    if not (state.messages_wait or state.conversation.awaits_model):
        if state.to_be_graded:
            if not pause(draft, rules):
                begin_evaluation(draft)
            return
        report(draft)
        _take_lone_remark(draft)
        go_idle(draft, rules, END_TURN)
        return
    if pause(draft, rules):
        return
    take_messages(draft)
    if state.rounds >= rules.max_tool_rounds:
        give_up(
            draft,
            rules,
            "tool_use_limit_reached_error",
            f"The turn made {state.rounds} model requests, which is the limit.",
        )
    else:
        start_request(draft, rules)


def _place(draft: Draft, rules: TurnRules, calls: list[OpenCall]) -> None:
    """Note where these calls will be sent, if that is known: then no commit of its own is needed for it."""
    intents: dict[EventId, str | None] = {
        call.id: rules.destination(call.served) for call in calls if call.served is not None
    }
    if sandboxed := [call.id for call in calls if call.served is None]:
        intents |= dict.fromkeys(sandboxed, rules.place(draft.state.record))
    intend(draft, {call_id: host for call_id, host in intents.items() if host is not None})


def settle(draft: Draft, rules: TurnRules, confirmations: list[Event]) -> None:
    """Go on after client answers to all the calls that an idle thread waited for.

    *confirmations* still wait in the queue: they are taken up once the session runs.
    """
    go_running(draft)
    for event in confirmations:
        draft.take(event)
    follow_up(draft, rules)


def record_failure(draft: Draft, rules: TurnRules, failure: BrainFailure, spent: Spent, *, max_attempts: int) -> None:
    """Log a failed model request: reschedule it, or end the turn when it cannot be helped.

    One that was too long is made again once the context is shorter; one for a summary is itself made shorter.
    """
    summarizing, overlong = draft.state.keeps is not None, too_long(failure)
    close_request(draft, spent, is_error=True, hidden={"too_long": True} if overlong else None)
    if draft.state.interrupted:
        return  # which ends the turn in its own way
    if overlong and not summarizing:
        follow_up(draft, rules)
        return
    type_ = ERROR_TYPES[failure.kind]
    if (failure.transient or overlong) and draft.state.failures < max_attempts:
        report_error(draft, type_, failure.message, "retrying")
        if not pause(draft, rules):
            go_rescheduling(draft)
    else:
        give_up(draft, rules, type_, failure.message)


def resume_request(draft: Draft, rules: TurnRules) -> None:
    """Leave ``rescheduling`` and make the model request again, with what was said meanwhile."""
    if not pause(draft, rules):
        go_running(draft)
        take_messages(draft)
        start_request(draft, rules)


def resume_paused(draft: Draft, rules: TurnRules) -> None:
    """Go on where the budget stopped the session's threads, if there is something to spend again."""
    if rules.budgets.used_up(draft.session.record, draft.now):
        return
    for thread in [thread for thread in draft.session.threads.values() if thread.paused]:
        go_running(draft.of(thread))
        follow_up(draft.of(thread), rules)


def wake(draft: Draft, rules: TurnRules) -> None:
    """Start the turns of threads that rest and need nobody's word to go on: see ``ThreadState.wakes``."""
    for thread in [thread for thread in draft.session.threads.values() if thread.wakes]:
        if thread.messages_wait:
            begin_turn(draft.of(thread), rules)
        else:
            go_running(draft.of(thread))
            follow_up(draft.of(thread), rules)


def apply_interrupt(draft: Draft, rules: TurnRules, spent: Spent) -> None:
    """Stop the turn: open request ended, interrupt processed, outcome and open calls closed, idle ``end_turn``.

    *spent* is what the open request, or the evaluation that is under way, consumed.

    Messages of the client that wait start the next turn at once; those of other threads would only undo the interrupt.
    """
    graded = spent if draft.state.grading is not None else None
    close_request(draft, spent, is_error=True)
    interrupt_outcome(draft, _take_interrupts(draft), graded)
    close_open_calls(draft, "The call was interrupted by the user.")
    take_reports(draft)
    _take_lone_remark(draft)
    go_idle(draft, rules, END_TURN)
    begin_turn(draft, rules)


def _take_lone_remark(draft: Draft) -> None:
    """Take a system message that waits with no message up at the end of a turn: it starts none by itself."""
    if not draft.state.messages_wait:
        take_messages(draft)


def _take_interrupts(draft: Draft) -> list[EventId]:
    waiting = [event for event in draft.state.queue if event.type is EventType.USER_INTERRUPT]
    return [draft.take(event).id for event in waiting]


def give_up_turn(draft: Draft, rules: TurnRules, message: str) -> None:
    """End a turn that nobody gets on with, wherever it stands; *message* says why."""
    close_request(draft, Spent(), is_error=True)
    _take_interrupts(draft)
    if draft.state.grading is not None:
        end_evaluation(draft, FAILED, message)
    close_open_calls(draft, "The turn was given up before the call's result came: it may or may not have taken effect.")
    give_up(draft, rules, "unknown_error", message)


def begin_turn(draft: Draft, rules: TurnRules) -> None:
    """Start a turn on what waits, if anything does."""
    if draft.state.has_work:
        go_running(draft)
        if not pause(draft, rules):
            take_messages(draft)
            start_request(draft, rules)
