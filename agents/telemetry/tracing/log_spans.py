"""Spans as events of the log make them; times are microseconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.sessions.events import Event, EventType, SessionRecord
from agents.sessions.served import served_by
from agents.telemetry.tracing import names
from agents.telemetry.tracing.ids import span_id_of
from agents.telemetry.tracing.spans import Span, Value, microseconds

STATES = {
    EventType.SESSION_RUNNING: "running",
    EventType.SESSION_IDLE: "idle",
    EventType.SESSION_RESCHEDULED: "rescheduling",
    EventType.SESSION_TERMINATED: "terminated",
}


def moment(event: Event) -> int:
    """Return when an event of the log was processed."""
    assert event.processed_at is not None, "an event that waits is not in the log"
    return microseconds(event.processed_at)


def turn_span(record: SessionRecord, ids: tuple[int, int, int | None], start: int, end: int, last: Event) -> Span:
    """Return the span of a turn that *last* (idle, terminated) has ended; *ids* are its trace, its own, its parent."""
    stop: Mapping[str, Any] | None = last.body.get("stop_reason")
    reason: str = stop["type"] if stop else "terminated"
    attributes: dict[str, Value] = {
        names.OPERATION: names.TURN,
        names.CONVERSATION: record.id,
        names.AGENT_ID: record.agent_id,
        names.AGENT_NAME: record.agent["name"],
        names.AGENT_VERSION: str(record.agent_version),
        names.REQUEST_MODEL: record.agent["model"]["id"],
        names.STOP_REASON: reason,
    }
    error = reason if reason == "retries_exhausted" else None
    trace_id, span_id, parent_id = ids
    return Span(trace_id, span_id, parent_id, names.TURN, start, end, error=error, attributes=attributes)


def chat_span(
    record: SessionRecord,
    model: str,
    trace_id: int,
    parent_id: int,
    start: int,
    event: Event,
    noted: Mapping[str, Value],
) -> Span:
    """Return the span of the request to *model* that *event* has ended; *noted* is what else is known of it."""
    body, request_id = event.body, event.body["model_request_start_id"]
    attributes: dict[str, Value] = {
        names.OPERATION: names.CHAT,
        names.CONVERSATION: record.id,
        names.REQUEST_MODEL: model,
        **usage_attributes(body["model_usage"]),
        names.EVENT: request_id,
        **_thread(event),
        **noted,
    }
    if (brain := body.get("brain")) is not None:
        attributes[names.BRAIN] = brain["id"]
    error = str(noted.get(names.ERROR_TYPE, "interrupted")) if body["is_error"] else None
    name, span_id = f"{names.CHAT} {model}", span_id_of(trace_id, request_id)
    return Span(trace_id, span_id, parent_id, name, start, moment(event), "client", error, attributes)


def evaluation_span(record: SessionRecord, trace_id: int, parent_id: int, start: int, event: Event) -> Span:
    """Return the span of the evaluation of an outcome that *event* has ended."""
    body = event.body
    evaluation, result = body["outcome_evaluation_start_id"], body["result"]
    attributes: dict[str, Value] = {
        names.OPERATION: names.EVALUATION,
        names.CONVERSATION: record.id,
        **usage_attributes(body["usage"]),
        names.RESULT: result,
        names.EVENT: evaluation,
    }
    error, span_id = result if result == "failed" else None, span_id_of(trace_id, evaluation)
    return Span(
        trace_id, span_id, parent_id, names.EVALUATION, start, moment(event), error=error, attributes=attributes
    )


def usage_attributes(usage: Mapping[str, int]) -> dict[str, Value]:
    """Return what is said of a model request's tokens (``model_usage``)."""
    return {
        names.INPUT_TOKENS: usage["input_tokens"],
        names.OUTPUT_TOKENS: usage["output_tokens"],
        names.CACHE_READ_TOKENS: usage["cache_read_input_tokens"],
        names.CACHE_CREATION_TOKENS: usage["cache_creation_input_tokens"],
    }


def append_span(
    record: SessionRecord, trace_id: int, parent_id: int | None, events: Sequence[Event], start: int, end: int
) -> Span:
    """Return the span of a commit that brought *events* and left the session as *record* is."""
    attributes: dict[str, Value] = {
        names.CONVERSATION: record.id,
        names.EVENTS: len(events),
        names.POSITION: record.seq,
    }
    span_id = span_id_of(trace_id, f"{names.APPEND}/{record.seq}/{start}")
    return Span(trace_id, span_id, parent_id, names.APPEND, start, end, "client", attributes=attributes)


def state_span(record: SessionRecord, trace_id: int, parent_id: int | None, event: Event, end: int) -> Span:
    """Return the span of a change of the session's state, which lasts until it is durable."""
    attributes: dict[str, Value] = {
        names.CONVERSATION: record.id,
        names.STATUS: STATES[event.type],
        names.EVENT: event.id,
    }
    span_id = span_id_of(trace_id, event.id)
    return Span(trace_id, span_id, parent_id, names.STATE, moment(event), end, attributes=attributes)


def tool_attributes(record: SessionRecord, event: Event) -> dict[str, Value]:
    """Return what is said of the tool call that *event* has asked for."""
    return {
        names.OPERATION: names.TOOL,
        names.CONVERSATION: record.id,
        names.TOOL_NAME: event.body["name"],
        names.TOOL_CALL: event.id,
        names.TOOL_TYPE: "function" if event.type is EventType.AGENT_CUSTOM_TOOL_USE else "extension",
        names.HAND: _hand(record, event),
        **_thread(event),
    }


def _thread(event: Event) -> dict[str, Value]:
    return {} if event.thread is None else {names.THREAD: event.thread}


def _hand(record: SessionRecord, event: Event) -> str:
    if event.type is EventType.AGENT_CUSTOM_TOOL_USE:
        return "custom"
    if (tool := served_by(event)) is not None:
        return tool.hand or tool.server or "web"
    return "worker" if record.self_hosted else "sandbox"


def tool_error(event: Event) -> str | None:
    """Return how a call failed that *event* is the result of, as a word; None: it did not."""
    if not event.body.get("is_error"):
        return None
    hidden = event.hidden or {}
    return str(hidden.get("outcome") or hidden.get("call", {}).get("outcome") or "tool_error")
