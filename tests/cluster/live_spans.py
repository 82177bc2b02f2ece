"""The spans of whole sessions, as trace store and OpenTelemetry receiver have them, held to the sessions' logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.cluster.live_load import requests_of, states_of
from tests.cluster.log_figures import RESULTS
from tests.conformance.scene import Json, of_type
from tests.otlp_receiver import Receiver

Span = Mapping[str, Any]

_ATTRIBUTES = {"event": "hecaton.event.id", "call": "gen_ai.tool.call.id", "events": "hecaton.log.events"}
SQL = (
    "SELECT trace_id, span_id, parent_id, name, service, session_id, error IS NOT NULL AS failed"
    + "".join(f", attributes['{key}'] AS {name}" for name, key in _ATTRIBUTES.items())
    + " FROM spans WHERE session_id IS NOT NULL"
)
"""Asks the trace store for all spans of sessions."""


def received_spans(receiver: Receiver) -> list[Span]:
    """Return the same of what a receiver got."""
    return [
        {
            "trace_id": span.trace_id,
            "span_id": span.span_id,
            "parent_id": span.parent_id or None,
            "name": span.name,
            "service": span.service,
            "session_id": span.attributes["gen_ai.conversation.id"],
            "failed": span.failed,
            **{
                name: str(span.attributes[key]) if key in span.attributes else None for name, key in _ATTRIBUTES.items()
            },
        }
        for span in tuple(receiver.spans)
        if "gen_ai.conversation.id" in span.attributes
    ]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def complete(spans: list[Span], logs: Mapping[str, list[Json]]) -> list[Span] | None:
    """Return the spans once they are all there: with the last commit of a turn come all others of it."""
    return spans if _committed(spans) >= sum(map(len, logs.values())) else None


def by_id(spans: Iterable[Span], *, at_least_once: bool = False) -> dict[tuple[str, str], Span]:
    """Return the spans by their ids; none may be there twice, unless it is said again as it was (*at_least_once*)."""
    found: dict[tuple[str, str], Span] = {}
    for span in spans:
        known = found.setdefault((span["trace_id"], span["span_id"]), span)
        assert known is span or (at_least_once and known == span), (known, span)
    return found


def check_spans(spans: list[Span], log: list[Json]) -> None:
    """Hold the spans of a session to its log."""
    kinds: dict[str, list[Span]] = {}
    for span in spans:
        kinds.setdefault(span["name"].partition(" ")[0], []).append(span)

    def ids(kind: str, key: str) -> Counter[str]:
        return Counter(span[key] for span in kinds.get(kind, ()))

    requests, results = requests_of(log), of_type(log, *RESULTS)
    assert ids("chat", "event") == Counter(each["model_request_start_id"] for each in requests)
    assert ids("execute_tool", "call") == Counter(each[RESULTS[each["type"]]] for each in results)
    assert ids("session.status", "event") == Counter(each["id"] for each in states_of(log))
    assert _committed(spans) == len(log)
    assert len(kinds["invoke_agent"]) == len(of_type(log, "session.status_idle"))
    assert len(kinds["think"]) == len(requests)
    assert len(kinds.get("call_tool", ())) == len(of_type(log, "agent.mcp_tool_result"))
    assert bool(kinds.get("execute")) == bool(of_type(log, "agent.tool_result"))
    failed = Counter(span["name"].partition(" ")[0] for span in spans if span["failed"])
    assert failed["chat"] == sum(each["is_error"] for each in requests)
    assert failed["execute_tool"] == sum(bool(each.get("is_error")) for each in results)
    _check_parents(spans)


def _check_parents(spans: list[Span]) -> None:
    traces: dict[str, set[str]] = {}
    for span in spans:
        traces.setdefault(span["trace_id"], set()).add(span["span_id"])
    roots = [span for span in spans if span["parent_id"] not in traces[span["trace_id"]]]
    assert {(span["service"], span["parent_id"]) for span in roots} == {("hecaton-gateway", None)}
    assert len(roots) == len(traces), "each trace has one root: the request that began it"


def _committed(spans: list[Span]) -> int:
    return sum(int(span["events"]) for span in spans if span["events"])
