"""The gateway's part of a trace: the SERVER span of a request that brings a session, or a brain, something to do.

A client's ``traceparent`` makes the span, and the turn that follows, a part of the client's trace. Without one both
have the id that follows from the event sent. What goes wrong here or takes long is kept as a turn is. Of a trace that
is kept for what became of its turn the harness tells afterwards, so what was not chosen is remembered for a while.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.telemetry.tracing import names
from agents.telemetry.tracing.context import TraceContext, handing_on, parse_traceparent
from agents.telemetry.tracing.ids import span_id_of, trace_id_of
from agents.telemetry.tracing.sampling import Sampling
from agents.telemetry.tracing.seeds import seed_of_request
from agents.telemetry.tracing.span_sink import SpanSink
from agents.telemetry.tracing.spans import Span, Value

_PATH = re.compile(r"/v1/sessions(/[^/]+/events)?|/v1/messages")
_REMEMBERED = 4096
"""Spans that were not chosen and may still be asked for."""
_STATE = "trace"


class RequestTrace:
    """One such request, from its first byte to the end of its answer."""

    def __init__(self, came: TraceContext | None) -> None:
        self.came = came
        self.start = time.time_ns() // 1000
        self.status = 500
        self.route = names.CREATE_ROUTE
        self.session_id = ""
        self.span: TraceContext | None = None
        self.below: list[Span] = []
        """Spans below it that go with it: what is no turn's has nobody else who keeps them."""

    def name(self, route: str, session_id: str, seed: str, sampling: Sampling) -> TraceContext:
        """Say what the request does, by the event that a turn would be named by; returns the request's span."""
        self.route, self.session_id = route, session_id
        trace_id = trace_id_of(session_id, seed) if self.came is None else self.came.trace_id
        sampled = sampling.chosen(trace_id) if self.came is None else self.came.sampled
        self.span = TraceContext(trace_id, span_id_of(trace_id, seed), sampled)
        return self.span

    def finished(self, request_id: str) -> Span | None:
        """Return the span; None of a request that was refused before anybody knew what it was about."""
        if self.span is None:
            return None
        attributes: dict[str, Value] = {
            names.HTTP_METHOD: "POST",
            names.HTTP_ROUTE: self.route,
            names.HTTP_STATUS: self.status,
            names.REQUEST_ID: request_id,
        }
        if self.session_id:
            attributes[names.CONVERSATION] = self.session_id
        parent = None if self.came is None else self.came.span_id
        error, end = str(self.status) if self.status >= 500 else None, time.time_ns() // 1000
        ids = (self.span.trace_id, self.span.span_id, parent)
        return Span(*ids, f"POST {self.route}", self.start, end, "server", error, attributes)


class RequestTracing:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, spans: RequestSpans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or _PATH.fullmatch(scope["path"]) is None:
            await self._app(scope, receive, send)
            return
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        given = next((value.decode("latin-1") for name, value in headers if name == b"traceparent"), None)
        state = scope.setdefault("state", {})
        trace = state[_STATE] = RequestTrace(parse_traceparent(given))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            self._spans.add(trace, state.get("request_id", ""))


def sending(
    spans: RequestSpans | None, request: Request, route: str, session_id: str, events: Sequence[Mapping[str, Any]]
) -> AbstractContextManager[None]:
    """Have what a request does to a session belong to the request's span, if it is traced."""
    trace: RequestTrace | None = getattr(request.state, _STATE, None)
    if spans is None or trace is None:
        return nullcontext()
    seed = seed_of_request(events) or session_id
    return handing_on(trace.name(route, session_id, seed, spans.sampling))


def asking(spans: RequestSpans | None, request: Request) -> RequestTrace | None:
    """Return the trace of a request that asks a brain, named by the request's own id; None: it is not traced."""
    trace: RequestTrace | None = getattr(request.state, _STATE, None)
    if spans is not None and trace is not None:
        trace.name(names.MESSAGES_ROUTE, "", request.state.request_id, spans.sampling)
    return trace


class RequestSpans:
    """What becomes of a gateway's spans."""

    def __init__(self, sink: SpanSink) -> None:
        self._sink = sink
        self._not_chosen: OrderedDict[int, Span] = OrderedDict()

    @property
    def sampling(self) -> Sampling:
        """Which traces are kept."""
        return self._sink.sampling

    def add(self, trace: RequestTrace, request_id: str) -> None:
        """Take the span of a request that was answered."""
        span, context = trace.finished(request_id), trace.span
        if span is None or context is None:
            return
        all_of_it = [span, *trace.below]
        failed = any(each.error is not None for each in all_of_it)
        if context.sampled or failed or self.sampling.is_slow(span.start, span.end):
            self._sink.export(all_of_it)
            return
        if not trace.session_id:
            return
        self._not_chosen[span.trace_id] = span
        if len(self._not_chosen) > _REMEMBERED:
            self._not_chosen.popitem(last=False)

    def turned_out(self, trace_id: int) -> None:
        """Hear that a trace is kept though it was not chosen."""
        if (span := self._not_chosen.pop(trace_id, None)) is not None:
            self._sink.export([span])
