"""What a session's log says of the platform: counted as its owner commits it, so that figures and log agree.

Whatever takes time is measured from its place in the log to that of its end, also when its session has another owner
by then: what is open is read back from the log.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from agents.ids import EventId
from agents.sessions import advising
from agents.sessions.events import TOOL_RESULTS, TOOL_USES, Event, EventType, SessionRecord
from agents.sessions.served import ServedTool, served_by
from agents.sessions.state import SessionState
from agents.sessions.thread_state import OpenCall
from agents.telemetry import catalogue
from agents.telemetry.model_measures import count_request
from agents.telemetry.recorder import Recorder

_ANSWERS = 64
"""Calls of a session, by tool and input, whose last result is known: a loop repeats one of its latest."""
_TURN_OUTCOMES = {
    "end_turn": "ended",
    "requires_action": "requires_action",
    "retries_exhausted": "failed",
    "refusal": "refused",
    "budget_reached": "out_of_budget",
}
_NO_RETRIES = ("mcp_", "credential_")
"""How the types of errors begin after which a session goes on without what has failed."""
_MICRO = 1_000_000


@dataclass(slots=True)
class _OpenCall:
    hand: str
    call: int
    """Digest of tool and input."""
    since: datetime | None


class SessionMeasures:
    """Counts the commits of one session."""

    def __init__(self, recorder: Recorder, state: SessionState, implied: str) -> None:
        """*implied* is the brain of requests of which the log names none."""
        self._recorder = recorder
        self._implied = implied
        self._before = state.record
        self._asked_at = {thread.open_request: thread.asked_at for thread in state.threads.values()}
        self._calls = {call.id: _open(call) for call in state.open_calls()}
        self._answers: OrderedDict[int, int] = OrderedDict()

    def committed(self, record: SessionRecord, events: Sequence[Event]) -> None:
        """Count a commit: the row as it is now, and the events that have got their place in the log."""
        before, self._before = self._before, record
        running_since, interrupted = before.running_since, False
        for event in events:
            match event.type:
                case EventType.SESSION_RUNNING:
                    running_since = running_since or event.processed_at
                case EventType.USER_INTERRUPT:
                    interrupted = True
                case EventType.SESSION_IDLE:
                    self._turn_ended(event, running_since, interrupted)
                    running_since, interrupted = None, False
                case EventType.MODEL_REQUEST_START:
                    self._asked_at[event.id] = event.processed_at
                case EventType.MODEL_REQUEST_END:
                    self._request_ended(event, _spent(before, record), stopped=_is_stopped(event, events))
                case EventType.OUTCOME_EVALUATION_END:
                    self._graded(event, _spent(before, record))
                case EventType.SESSION_ERROR:
                    self._failed(event)
                case EventType.THREAD_CREATED:
                    advises = event.body["agent_name"] == advising.NAME
                    self._recorder.count(catalogue.THREADS, "advisor" if advises else "agent")
                case _:
                    self._of_calls(event, self_hosted=record.self_hosted)

    def _of_calls(self, event: Event, *, self_hosted: bool) -> None:
        if event.type is EventType.USER_TOOL_CONFIRMATION:
            if (call := self._calls.get(event.body["tool_use_id"])) is not None:
                call.since = event.processed_at
        elif event.type in TOOL_USES:
            self._calls[event.id] = _used(event, self_hosted=self_hosted)
        elif event.type in TOOL_RESULTS:
            self._call_ended(event)

    def _turn_ended(self, event: Event, since: datetime | None, interrupted: bool) -> None:
        if since is None:
            return  # it was idle, and says anew what it waits for
        outcome = _TURN_OUTCOMES.get(event.body["stop_reason"]["type"], "other")
        self._recorder.count(catalogue.TURNS, "interrupted" if interrupted and outcome == "ended" else outcome)
        self._recorder.observe(catalogue.TURN_SECONDS, _seconds(since, event.processed_at))

    def _request_ended(self, event: Event, micro_usd: int, *, stopped: bool) -> None:
        body = event.body
        brain = body["brain"]["id"] if "brain" in body else self._implied
        outcome = "ok" if not body["is_error"] else "cancelled" if stopped else "error"
        count_request(self._recorder, brain, outcome, body["model_usage"], micro_usd)
        if (asked_at := self._asked_at.pop(body["model_request_start_id"], None)) is not None:
            seconds = _seconds(asked_at, event.processed_at)
            self._recorder.observe(catalogue.MODEL_REQUEST_SECONDS, seconds, brain)

    def _graded(self, event: Event, micro_usd: int) -> None:
        body = event.body
        self._recorder.count(catalogue.OUTCOME_EVALUATIONS, body["result"])
        if any(body["usage"].get(f"{kind}_tokens") for kind in ("input", "output")):
            # What it took is in no span of a model request.
            outcome = {"failed": "error", "interrupted": "cancelled"}.get(body["result"], "ok")
            brain = (event.hidden or {}).get("brain", self._implied)
            count_request(self._recorder, brain, outcome, body["usage"], micro_usd)

    def _failed(self, event: Event) -> None:
        error = event.body["error"]
        if error["retry_status"]["type"] != "retrying":
            self._recorder.count(catalogue.SESSION_FAILURES)
        elif not error["type"].startswith(_NO_RETRIES):
            self._recorder.count(catalogue.RETRIES, "model_request")

    def _call_ended(self, event: Event) -> None:
        call = self._calls.pop(EventId(event.body[TOOL_RESULTS[event.type]]), None)
        if call is None:
            return
        outcome = "error" if event.body.get("is_error") else "ok"
        self._recorder.count(catalogue.TOOL_CALLS, call.hand, outcome)
        if call.since is not None:
            self._recorder.observe(catalogue.TOOL_CALL_SECONDS, _seconds(call.since, event.processed_at), call.hand)
        kept = (event.hidden or {}).get("call")
        if kept and kept.get("micro_usd"):
            self._recorder.count(catalogue.HAND_COST, call.hand, by=kept["micro_usd"] / _MICRO)
        self._answered(call.call, _digest(event.body.get("content")))

    def _answered(self, call: int, answer: int) -> None:
        if self._answers.get(call) == answer:
            self._recorder.count(catalogue.REPEATED_TOOL_CALLS)
        self._answers[call] = answer
        self._answers.move_to_end(call)
        if len(self._answers) > _ANSWERS:
            self._answers.popitem(last=False)


def _is_stopped(end: Event, events: Sequence[Event]) -> bool:
    """Whether a failed request was ended from outside: its client interrupted it, or the budget was used up."""
    too_long = (end.hidden or {}).get("too_long", False)
    return not too_long and not any(event.type is EventType.SESSION_ERROR for event in events)


def _spent(before: SessionRecord, record: SessionRecord) -> int:
    return record.usage.token_cost_micro_usd - before.usage.token_cost_micro_usd


def _seconds(since: datetime, until: datetime | None) -> float:
    return 0.0 if until is None else max(0.0, (until - since).total_seconds())


def _open(call: OpenCall) -> _OpenCall:
    kinds = {"custom": "custom", "worker": "worker", "builtin": "sandbox"}
    hand = kinds[call.kind] if call.served is None else _hand_of(call.served)
    return _OpenCall(hand, _digest([call.name, call.input]), call.since)


def _used(event: Event, *, self_hosted: bool) -> _OpenCall:
    served = served_by(event)
    if event.type is EventType.AGENT_CUSTOM_TOOL_USE:
        hand = "custom"
    elif (event.hidden or {}).get("internal"):
        hand = "delegation"
    elif served is not None:
        hand = _hand_of(served)
    else:
        hand = "worker" if self_hosted else "sandbox"
    return _OpenCall(hand, _digest([event.body["name"], event.body["input"]]), event.processed_at)


def _hand_of(tool: ServedTool) -> str:
    return tool.hand.partition("@")[0] or tool.server or "web"


def _digest(value: Any) -> int:
    return hash(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
