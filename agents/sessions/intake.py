"""Taking client events in: which are legal now, and what each does to the session.

All or none: every event of a request is checked against the state that its predecessors lead to
before anything is drafted for good. Repeats of an accepted answer are harmless (spec H-6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson

from agents.config import HarnessSettings
from agents.errors import Conflict, InvalidRequest, RateLimited
from agents.ids import EventId, new_event_id
from agents.sessions.approvals import call_digest
from agents.sessions.draft import Draft
from agents.sessions.evaluation import check_definition, define, interrupt_outcome
from agents.sessions.events import Event, EventType, SessionStatus
from agents.sessions.lifecycle import TurnRules, rest, stop_thread, take_reports
from agents.sessions.repeats import ClientRequest
from agents.sessions.state import SessionState
from agents.sessions.thread_state import END_TURN, OpenCall, ThreadState
from agents.sessions.tool_calls import close_open_calls
from agents.sessions.transitions import begin_turn, follow_up, settle

_ANSWER_KEYS = {
    EventType.USER_TOOL_CONFIRMATION: "tool_use_id",
    EventType.USER_CUSTOM_TOOL_RESULT: "custom_tool_use_id",
    EventType.USER_TOOL_RESULT: "tool_use_id",
}
_RESULTS = frozenset({EventType.USER_CUSTOM_TOOL_RESULT, EventType.USER_TOOL_RESULT})
"""Answers that are processed on receipt."""
_ANSWERED = "the session waits for its client: a system message must follow the tool result that it accompanies"
_AT_THE_CAP = frozenset({*_ANSWER_KEYS, EventType.USER_INTERRUPT})
"""What an idle session takes when its budget is used up."""


def _body(params: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if key not in ("id", "type")}


def _normalised(type_: EventType, params: dict[str, Any]) -> dict[str, Any]:
    body = _body(params)
    if type_ in _RESULTS:
        body.setdefault("content", None)
        body.setdefault("is_error", None)
    elif type_ is EventType.USER_TOOL_CONFIRMATION:
        body.setdefault("deny_message", None)
    return body


def check_open(state: SessionState) -> None:
    """Raise Conflict when the session takes no more events."""
    if state.status is SessionStatus.TERMINATED or state.record.archived_at is not None:
        raise Conflict(f"session {state.record.id} is {_final_word(state)}: it takes no more events")


def _final_word(state: SessionState) -> str:
    return "archived" if state.record.archived_at is not None else "terminated"


def _check_answer(state: SessionState, where: str, type_: EventType, body: dict[str, Any]) -> Event | None:
    """Check an answer to a tool call; returns the accepted event when this one repeats it."""
    key = _ANSWER_KEYS[type_]
    call_id = EventId(body[key])
    if type_ is EventType.USER_TOOL_RESULT and not state.record.self_hosted:
        words = "is only for environments of type self_hosted: this session's built-in tools run on the server"
        raise InvalidRequest(f"{where}.type: {type_.value}: {words}")
    earlier = state.answers.get((type_, call_id)) or _waiting_answer(state, type_, call_id)
    if earlier is not None:
        if _said(earlier.body) == _said(body):
            return earlier
        raise InvalidRequest(f"{where}.{key}: {call_id} already has a different answer")
    call = state.call(call_id)
    if call is None:
        raise InvalidRequest(f"{where}.{key}: {call_id} is not an open tool use of this session")
    if type_ is EventType.USER_CUSTOM_TOOL_RESULT and call.kind != "custom":
        raise InvalidRequest(f"{where}.{key}: {call_id} is no custom tool; it does not take a custom tool result")
    if type_ is EventType.USER_TOOL_CONFIRMATION and not call.asked:
        raise InvalidRequest(f"{where}.{key}: {call_id} does not ask for a confirmation")
    if type_ is EventType.USER_TOOL_RESULT:
        _check_worker_call(state, f"{where}.{key}", call)
    return None


def _said(body: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer says; whose call it is for is filled in here."""
    return {key: value for key, value in body.items() if key != "session_thread_id"}


def _check_worker_call(state: SessionState, where: str, call: OpenCall) -> None:
    if call.kind != "worker":
        raise InvalidRequest(f"{where}: {call.id} is not a sandbox tool; it does not take a user.tool_result")
    waiting = _waiting_answer(state, EventType.USER_TOOL_CONFIRMATION, call.id)
    decision = waiting.body["result"] if waiting else call.decision
    if call.asked and decision != "allow":
        raise InvalidRequest(f"{where}: {call.id} needs a user.tool_confirmation that allows it first")


def _waiting_answer(state: SessionState, type_: EventType, call_id: EventId) -> Event | None:
    """Find a confirmation that was accepted and has yet to take its place in the log."""
    if type_ is not EventType.USER_TOOL_CONFIRMATION:
        return None
    waiting = (event for event in state.queue if event.type is EventType.USER_TOOL_CONFIRMATION)
    return next((event for event in waiting if event.body["tool_use_id"] == call_id), None)


def _check_all(state: SessionState, events: Sequence[dict[str, Any]]) -> list[EventId]:
    """Return the ids of the events that the request is answered with."""
    seen: dict[str, tuple[dict[str, Any], EventId]] = {}
    defined = interrupted = False
    ids: list[EventId] = []
    for index, params in enumerate(events):
        type_, where, event_id = EventType(params["type"]), f"events[{index}]", EventId(params["id"])
        if type_ in _ANSWER_KEYS:
            body = _normalised(type_, params)
            call_id = body[_ANSWER_KEYS[type_]]
            earlier = _check_answer(state, where, type_, body)
            first, event_id = seen.setdefault(call_id, (body, earlier.id if earlier else event_id))
            if first != body:
                raise InvalidRequest(f"{where}: {call_id} is answered twice in one request")
        elif type_ is EventType.USER_INTERRUPT:
            thread = params.get("session_thread_id")
            if thread is not None and thread not in state.threads:
                raise InvalidRequest(f"{where}.session_thread_id: {thread} is not a thread of this session")
            interrupted = interrupted or thread in (None, state.primary.id)
        elif type_ is EventType.USER_DEFINE_OUTCOME:
            if defined:
                raise InvalidRequest(f"{where}.type: user.define_outcome: a session has one outcome at a time")
            check_definition(state, where, ended=interrupted and not state.primary.busy)
            defined = True
        elif type_ is EventType.SYSTEM_MESSAGE:
            _check_remark(state, where, events[:index])
        ids.append(event_id)
    return ids


def _check_remark(state: SessionState, where: str, before: Sequence[dict[str, Any]]) -> None:
    """Check a system message: whoever waits for its client takes one with a tool result only (spec B.1)."""
    waits = state.status is SessionStatus.IDLE and any(call.blocking for call in state.open_calls())
    ended = any(each["type"] == EventType.USER_INTERRUPT for each in before)
    if waits and not ended and not (before and EventType(before[-1]["type"]) in _RESULTS):
        raise InvalidRequest(f"{where}.type: {EventType.SYSTEM_MESSAGE.value}: {_ANSWERED}")


def _check_queue(state: SessionState, events: Sequence[dict[str, Any]], limits: HarnessSettings) -> None:
    """Raise RateLimited when the queue has no room for these events."""
    # The first interrupt of a thread finds room in a full queue: it is what empties it.
    coming = [each for each in events if each["type"] != EventType.USER_INTERRUPT or _is_interrupted(state, each)]
    already = sum(event.type.from_client for event in state.queue)
    if already + len(coming) > limits.max_queued_events:
        raise RateLimited(f"{already} events already wait in this session", retry_after=1.0)
    # What one request may hold is bounded at the edge; only what it adds to is measured.
    waiting = state.waiting_bytes()
    if waiting and waiting + sum(len(orjson.dumps(each)) for each in coming) > limits.max_queued_bytes:
        raise RateLimited(f"events of {waiting} bytes already wait in this session", retry_after=1.0)


def _is_interrupted(state: SessionState, interrupt: dict[str, Any]) -> bool:
    """Whether one waits already for the thread that *interrupt* names, or for the primary."""
    return state.threads[interrupt.get("session_thread_id") or state.primary.id].interrupted


def _check_cap(draft: Draft, rules: TurnRules, events: Sequence[dict[str, Any]]) -> None:
    """Raise InvalidRequest when the budget is used up and an event would start something (spec B.3)."""
    if draft.session.busy or not rules.budgets.used_up(draft.session.record, draft.now):
        return
    for index, params in enumerate(events):
        if params["type"] not in _AT_THE_CAP:
            words = "the session's budget is used up: raise or remove it first"
            raise InvalidRequest(f"events[{index}].type: {params['type']}: {words}", error_code="budget_reached")


def admit(draft: Draft, rules: TurnRules, request: ClientRequest, limits: HarnessSettings) -> list[Event]:
    """Draft what the events of *request* do; returns the echo of each, in order.

    Raises Conflict (archived), InvalidRequest (an answer to nothing, the budget used up) or RateLimited (queue full).
    """
    state = draft.session
    check_open(state)
    _check_cap(draft, rules, request.events)
    answer = _check_all(state, request.events)
    _check_queue(state, request.events, limits)
    mark = request.mark(answer, draft.now.timestamp())  # for the first event that is new
    echoes: list[Event] = []
    answered: list[ThreadState] = []
    for index, params in enumerate(request.events):
        trace = request.trace_of(params["id"])
        hidden = mark if trace is None else {**(mark or {}), **trace}
        event = Event(EventId(params["id"]), EventType(params["type"]), _body(params), None, hidden=hidden)
        if event.type in _ANSWER_KEYS:
            event = replace(event, body=_normalised(event.type, params))
            echo, fresh = _admit_answer(draft, f"events[{index}]", event)
            if fresh:
                answered.append(state.thread_of(echo))
        elif event.type is EventType.USER_INTERRUPT:
            _go_on(draft, rules, answered)
            echo, fresh = _admit_interrupts(draft, rules, event), True
        elif event.type is EventType.SYSTEM_MESSAGE and _rests(state):
            # It starts no turn, so nothing else would take it up.
            echo, fresh = draft.emit(event.type, event.body, event_id=event.id, hidden=event.hidden), True
        elif event.type is EventType.USER_DEFINE_OUTCOME:
            echo, fresh = define(draft, event), True
        else:
            draft.enqueue(event)
            echo, fresh = event, True
        mark = None if fresh else mark
        echoes.append(echo)
    _go_on(draft, rules, answered)
    primary = draft.state
    if primary.status is SessionStatus.IDLE and not (primary.calls or primary.paused):
        begin_turn(draft, rules)
    return echoes


def _rests(state: SessionState) -> bool:
    """Whether the primary thread has nothing to do, and nothing that would give it something."""
    primary = state.primary
    return primary.status is SessionStatus.IDLE and not (primary.calls or primary.queue)


def _admit_answer(draft: Draft, where: str, event: Event) -> tuple[Event, bool]:
    earlier = _check_answer(draft.session, where, event.type, event.body)
    if earlier is not None:
        return earlier, False
    call_id = EventId(event.body[_ANSWER_KEYS[event.type]])
    draft = draft.of(draft.session.holder(call_id) or draft.state)
    if not draft.state.primary:
        event = replace(event, body={**event.body, "session_thread_id": draft.state.id})
    if event.type in _RESULTS:
        echo = draft.emit(event.type, event.body, event_id=event.id, hidden=event.hidden, crossposted=True)
        return echo, True
    call = draft.state.calls[call_id]
    hidden = {**(event.hidden or {}), "approves": call_digest(call.name, call.input)}
    event = replace(event, hidden=hidden, thread=draft.thread)
    draft.enqueue(event)
    return event, True


def _go_on(draft: Draft, rules: TurnRules, answered: list[ThreadState]) -> None:
    """Have each thread that was answered do what follows; *answered* is emptied.

    What threads still miss is logged before any goes on: the session asks for all that is missing, or runs.
    """
    drafts = [draft.of(thread) for thread in dict.fromkeys(answered)]
    answered.clear()
    going = [each for each in drafts if not _ask_again(each)]
    for each in going:
        _after_answers(each, rules)
    if drafts and not going:
        rest(draft, rules)


def _ask_again(draft: Draft) -> bool:
    """Log waiting confirmations and what an idle thread still waits for; says whether it waits for anything."""
    state, confirmations = draft.state, _confirmations(draft.state)
    if state.status is not SessionStatus.IDLE or set(state.blocking_ids()) <= _settled_by(state, confirmations):
        return False
    for event in confirmations:
        draft.take(event)
    stop_thread(draft, {"type": "requires_action", "event_ids": state.blocking_ids()})
    return True


def _after_answers(draft: Draft, rules: TurnRules) -> None:
    """Log waiting confirmations, then go on."""
    confirmations = _confirmations(draft.state)
    if draft.state.status is SessionStatus.IDLE:
        # All settled: the session runs first and takes the confirmation up then (spec J).
        settle(draft, rules, confirmations)
        return
    for event in confirmations:
        draft.take(event)
    follow_up(draft, rules)


def _confirmations(state: ThreadState) -> list[Event]:
    return [event for event in state.queue if event.type is EventType.USER_TOOL_CONFIRMATION]


def _settled_by(state: ThreadState, confirmations: Sequence[Event]) -> set[str]:
    """Name the calls that wait for the client no longer; one that a worker may run now waits for its result."""
    settled: set[str] = set()
    for event in confirmations:
        call = state.calls.get(EventId(event.body["tool_use_id"]))
        if call is None or call.kind != "worker" or event.body["result"] == "deny":
            settled.add(event.body["tool_use_id"])
    return settled


def _admit_interrupts(draft: Draft, rules: TurnRules, event: Event) -> Event:
    """Interrupt the thread that is named, or else every one: the children first, each by an event of its own."""
    event.body.setdefault("session_thread_id", None)
    named = event.body["session_thread_id"]
    waited = [thread for thread in draft.session.threads.values() if thread.calls and not thread.busy]
    if named is not None:
        to = draft.of(draft.session.threads[named])
        echo = _admit_interrupt(to, rules, replace(event, thread=to.thread), draft.enqueue)
    else:
        for thread in draft.session.threads.values():
            if not thread.primary and (thread.busy or thread.calls):
                own = Event(new_event_id(), event.type, {"session_thread_id": thread.id}, None, thread=thread.id)
                _admit_interrupt(draft.of(thread), rules, own, draft.hold)
        echo = _admit_interrupt(draft, rules, event, draft.enqueue)
    if any(not thread.calls for thread in waited):
        rest(draft, rules)
    return echo


def _admit_interrupt(draft: Draft, rules: TurnRules, event: Event, wait: Callable[[Event], None]) -> Event:
    state = draft.state
    if state.busy:
        # The running turn stops at its next await and takes the interrupt up before any message.
        wait(event)
        return event
    if not state.calls and rules.budgets.used_up(state.record, draft.now):
        return event.processed(draft.now)  # accepted, ignored and not recorded (spec B.3)
    echo = draft.emit(event.type, event.body, event_id=event.id, hidden=event.hidden)
    interrupt_outcome(draft, [event.id])
    if state.calls:
        close_open_calls(draft, "The call was interrupted by the user.")
        take_reports(draft)
        stop_thread(draft, END_TURN)
    return echo
