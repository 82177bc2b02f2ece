"""A Tracing that keeps its spans, and what tests ask of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from agents.telemetry.tracing import names
from agents.telemetry.tracing.log_trace import LogTrace
from agents.telemetry.tracing.sampling import Sampling
from agents.telemetry.tracing.settings import TraceSettings
from agents.telemetry.tracing.span_sink import SpanSink
from agents.telemetry.tracing.spans import Span

STATUSES = ("session.status_running", "session.status_idle", "session.status_rescheduled", "session.status_terminated")
USES = ("agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use")
SPANS = {names.CHAT: "chat", names.TOOL: "tool", names.STATE: "status", names.TURN: "turn"}
"""What spans are of, by the first word of their names."""


class Collected:
    """Takes the place of a process's tracing."""

    delay_seconds = 15.0

    def __init__(self, **settings: Any) -> None:
        traces = TraceSettings.model_validate(settings)
        self.spans: list[Span] = []
        self.exceptional: list[int] = []
        self.sink = SpanSink(
            Sampling.of(traces), [self], most=traces.max_spans_per_turn, on_exceptional=self.exceptional.append
        )
        self.dropped = self.failed = 0

    def put(self, spans: Sequence[Span]) -> None:
        self.spans += spans

    def session(self, session_id: str) -> LogTrace:
        return LogTrace(session_id, self.sink)

    @property
    def figures(self) -> dict[str, int]:
        return self.sink.figures

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def counts_of_log(log: Iterable[dict[str, Any]]) -> Counter[str]:
    """What a log has of what becomes a span, by kind."""
    types = Counter(event["type"] for event in log)
    return Counter(
        chat=types["span.model_request_end"],
        tool=sum(types[each] for each in USES),
        status=sum(types[each] for each in STATUSES),
        turn=types["session.status_idle"],
    )


def counts_of_spans(spans: Iterable[Span]) -> Counter[str]:
    """The same of spans, each id counted once."""
    once = {(span.trace_id, span.span_id): span.name.partition(" ")[0] for span in spans}
    return Counter(SPANS[name] for name in once.values() if name in SPANS)
