"""What metrics and traces are told of a model request that a client makes itself, as of those of sessions."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from agents.api.platform import Platform
from agents.api.request_trace import RequestTrace
from agents.brains.assembly import TokenUsage
from agents.brains.first_token import FirstToken
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.route import Route
from agents.telemetry import catalogue
from agents.telemetry.model_measures import count_request
from agents.telemetry.tracing import names
from agents.telemetry.tracing.context import TraceContext
from agents.telemetry.tracing.far_side import asking_far
from agents.telemetry.tracing.ids import span_id_of
from agents.telemetry.tracing.log_spans import usage_attributes
from agents.telemetry.tracing.spans import Span, Value, microseconds


class MessageTelemetry:
    """One such request, from being asked to its end."""

    def __init__(self, platform: Platform, request: BrainRequest, trace: RequestTrace | None) -> None:
        """*trace* is that of the client's HTTP request; None: nobody traces."""
        self._platform = platform
        self._request = request
        self._trace = trace
        self._began, self._asked = platform.clock.now(), platform.clock.monotonic()
        self._first = FirstToken(platform.clock.monotonic)
        self._stop_reason: str | None = None

    def asking(self) -> AbstractContextManager[None]:
        """Have the brain's part belong to the request's trace."""
        if self._trace is None or self._trace.span is None:
            return nullcontext()
        return asking_far(_chat(self._trace.span), "hecaton-brain", "think", {}, self._trace.below.append)

    def see(self, event: dict[str, Any]) -> None:
        """Take note of what the brain says."""
        self._first.see(event)
        match event:
            case {"type": "message_delta", "delta": {"stop_reason": str(reason)}}:
                self._stop_reason = reason
            case _:
                pass

    def repeated(self) -> None:
        """Take note that the request is made again at once, because its brain was lost."""
        self._platform.recorder.count(catalogue.RETRIES, "model_request")

    def ended(
        self, brain: str, route: Route | None, usage: TokenUsage, micro_usd: int, fault: BaseException | None
    ) -> None:
        """Tell how it ended: *brain* (an id) has answered, or *fault* come."""
        recorder, seconds = self._platform.recorder, self._platform.clock.monotonic() - self._asked
        tokens, (outcome, error) = usage.wire(), _end(fault)
        count_request(recorder, brain, outcome, tokens, micro_usd)
        recorder.observe(catalogue.MODEL_REQUEST_SECONDS, seconds, brain)
        if self._first.at is not None:
            recorder.observe(catalogue.FIRST_TOKEN_SECONDS, self._first.at - self._asked, brain)
        if self._trace is None or self._trace.span is None:
            return
        attributes: dict[str, Value] = {
            names.OPERATION: names.CHAT,
            names.PROVIDER: names.provider(route.brain.definition.engine if route else self._platform.settings.engine),
            names.REQUEST_MODEL: self._request.model,
            names.BRAIN: brain,
            **usage_attributes(tokens),
        }
        if self._stop_reason is not None:
            attributes[names.FINISH_REASONS] = (self._stop_reason,)
        if self._first.at is not None:
            attributes[names.TIME_TO_FIRST_CHUNK] = self._first.at - self._asked
        near, above = _chat(self._trace.span), self._trace.span
        times = microseconds(self._began), microseconds(self._platform.clock.now())
        name = f"{names.CHAT} {self._request.model}"
        self._trace.below.append(
            Span(near.trace_id, near.span_id, above.span_id, name, *times, "client", error, attributes)
        )


def _end(fault: BaseException | None) -> tuple[str, str | None]:
    """Return the outcome that is counted, and the error of the span."""
    match fault:
        case None:
            return "ok", None
        case asyncio.CancelledError() | GeneratorExit():
            return "cancelled", "cancelled"
        case BrainFailure(kind=kind):
            return "error", kind
        case _:
            return "error", "internal"


def _chat(request: TraceContext) -> TraceContext:
    return TraceContext(request.trace_id, span_id_of(request.trace_id, names.CHAT), request.sampled)
