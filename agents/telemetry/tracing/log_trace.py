"""The traces of one session as a fold of its log, so that they say what the log says.

Each turn is a trace. A model request, a tool call and a change of the session's state become spans when the event
that ends them is committed; each commit is a span of its own. Whoever goes on with a session that was another's folds
the log that it reads, and has the spans of the open turn again, under the ids that they had: a trace outlives owners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from agents.sessions.events import TOOL_RESULTS, TOOL_USES, Event, EventType, SessionRecord
from agents.telemetry.tracing import names
from agents.telemetry.tracing.context import TraceContext, handing_on, parse_traceparent
from agents.telemetry.tracing.far_side import asking_far
from agents.telemetry.tracing.ids import span_id_of, trace_id_of
from agents.telemetry.tracing.log_spans import (
    append_span,
    chat_span,
    evaluation_span,
    moment,
    state_span,
    tool_attributes,
    tool_error,
    turn_span,
)
from agents.telemetry.tracing.seeds import TRACEPARENT, seed_of_commit, seed_of_state, seed_of_turn
from agents.telemetry.tracing.span_sink import SpanSink
from agents.telemetry.tracing.spans import Span, Value, microseconds


@dataclass(frozen=True, slots=True)
class _Place:
    """Where something begins: its trace, what it belongs to there, and whether that is kept in any case."""

    trace_id: int
    parent_id: int | None
    chosen: bool


@dataclass(slots=True)
class _Turn:
    """One turn, and what was made of it so far."""

    trace_id: int
    span_id: int
    parent_id: int | None
    start: int
    chosen: bool
    spans: list[Span] = field(default_factory=lambda: [])
    dropped: int = 0
    failed: bool = False
    kept: bool | None = None
    """Whether the trace was kept; None until the turn is over."""


@dataclass(slots=True)
class _OpenRequest:
    """A model request without an answer, and what its owner has said of it."""

    start: int
    noted: dict[str, Value] = field(default_factory=lambda: {})


@dataclass(slots=True)
class _OpenCall:
    """A tool call without a result; that of a custom tool outlives its turn."""

    turn: _Turn
    name: str
    start: int
    attributes: dict[str, Value]


class LogTrace:
    """The SessionTrace of a process that is traced."""

    def __init__(self, session_id: str, sink: SpanSink) -> None:
        self._session_id = session_id
        self._sink = sink
        self._turn: _Turn | None = None
        self._ended: list[tuple[_Turn, Span]] = []
        self._calls: dict[str, _OpenCall] = {}
        self._models: dict[str, str] = {}
        """By thread; the primary's is in the session's row."""
        self._requests: dict[str, _OpenRequest] = {}
        self._evaluation: int | None = None
        """When the evaluation began that is under way."""
        self._told_until: float = 0
        """What has ended before is another's, who has told it."""

    # -- told by the owner -----------------------------------------------------------------------

    def restore(self, record: SessionRecord, events: Sequence[Event], *, untold_since: datetime | None) -> None:
        """See SessionTrace.restore."""
        self._told_until = float("inf") if untold_since is None else microseconds(untold_since)
        for index, event in enumerate(events):
            self._take(record, events, index, moment(event))
            self._finish()
        self._told_until = 0

    def committed(self, record: SessionRecord, events: Sequence[Event], start: int, end: int) -> None:
        """See SessionTrace.committed."""
        before = self._turn
        for index in range(len(events)):
            self._take(record, events, index, end)
        turn = before or self._turn
        if turn is not None:
            self._add(turn, append_span(record, turn.trace_id, turn.span_id, events, start, end))
        elif events:
            place = self._place(seed_of_commit(events))
            self._aside(place, append_span(record, place.trace_id, place.parent_id, events, start, end))
        self._finish()

    def note(self, request_id: str, attributes: Mapping[str, Value]) -> None:
        """See SessionTrace.note."""
        if (request := self._requests.get(request_id)) is not None:
            request.noted |= attributes

    def asking(self, event_id: str | None, service: str, name: str) -> AbstractContextManager[None]:
        """See SessionTrace.asking."""
        turn = self._turn
        if turn is None:
            return handing_on(None)
        span_id = turn.span_id if event_id is None else span_id_of(turn.trace_id, event_id)

        def take(far: Span) -> None:
            if turn.kept is None:
                self._add(turn, far)

        near = TraceContext(turn.trace_id, span_id, turn.chosen)
        return asking_far(near, service, name, {names.CONVERSATION: self._session_id}, take)

    # -- the fold --------------------------------------------------------------------------------

    def _take(self, record: SessionRecord, events: Sequence[Event], index: int, end: int) -> None:
        event = events[index]
        match event.type:
            case EventType.SESSION_RUNNING | EventType.SESSION_RESCHEDULED:
                if self._turn is None:
                    self._turn = self._begun(events, index)
                self._add(self._turn, state_span(record, self._turn.trace_id, self._turn.span_id, event, end))
            case EventType.SESSION_IDLE | EventType.SESSION_TERMINATED:
                self._stop(record, events, index, end)
            case EventType.THREAD_CREATED:
                self._models[event.body["session_thread_id"]] = (event.hidden or {})["agent"]["model"]["id"]
            case EventType.MODEL_REQUEST_START:
                self._requests[event.id] = _OpenRequest(moment(event))
            case EventType.MODEL_REQUEST_END:
                self._answered(record, event)
            case EventType.OUTCOME_EVALUATION_START:
                self._evaluation = moment(event)
            case EventType.OUTCOME_EVALUATION_END:
                self._evaluated(record, event)
            case kind if kind in TOOL_USES:
                if (turn := self._turn) is not None:
                    attributes = tool_attributes(record, event)
                    self._calls[event.id] = _OpenCall(turn, event.body["name"], moment(event), attributes)
            case _ if (key := TOOL_RESULTS.get(event.type)) is not None:
                self._close(event.body[key], moment(event), tool_error(event))
            case _:
                pass

    def _place(self, seed: Event) -> _Place:
        came = parse_traceparent((seed.hidden or {}).get(TRACEPARENT))
        trace_id = trace_id_of(self._session_id, seed.id) if came is None else came.trace_id
        chosen = self._sink.sampling.chosen(trace_id) if came is None else came.sampled
        # The gateway's span has the id of what it took in.
        return _Place(trace_id, span_id_of(trace_id, seed.id) if seed.type.from_client else None, chosen)

    def _begun(self, events: Sequence[Event], index: int) -> _Turn:
        start, place = events[index], self._place(seed_of_turn(events, index))
        own = span_id_of(place.trace_id, f"{names.TURN}/{start.id}")
        return _Turn(place.trace_id, own, place.parent_id, moment(start), place.chosen)

    def _stop(self, record: SessionRecord, events: Sequence[Event], index: int, end: int) -> None:
        event = events[index]
        if event.type is EventType.SESSION_TERMINATED:
            for call_id in list(self._calls):
                self._close(call_id, moment(event), "session_terminated")
        if (turn := self._turn) is None:
            place = self._place(seed_of_state(events, index))
            self._aside(place, state_span(record, place.trace_id, place.parent_id, event, end))
            return
        self._add(turn, state_span(record, turn.trace_id, turn.span_id, event, end))
        root = turn_span(record, (turn.trace_id, turn.span_id, turn.parent_id), turn.start, end, event)
        self._ended.append((turn, root))
        self._turn = None

    def _answered(self, record: SessionRecord, event: Event) -> None:
        request = self._requests.pop(event.body["model_request_start_id"], None)
        if (turn := self._turn) is not None and request is not None:
            model = self._models.get(event.thread or "") or record.agent["model"]["id"]
            model = str(request.noted.get(names.REQUEST_MODEL, model))
            ids = turn.trace_id, turn.span_id
            self._add(turn, chat_span(record, model, *ids, request.start, event, request.noted))

    def _evaluated(self, record: SessionRecord, event: Event) -> None:
        began, self._evaluation = self._evaluation, None
        if (turn := self._turn) is not None and began is not None:
            self._add(turn, evaluation_span(record, turn.trace_id, turn.span_id, began, event))

    def _close(self, call_id: str, end: int, error: str | None) -> None:
        if (call := self._calls.pop(call_id, None)) is not None:
            turn, name = call.turn, f"{names.TOOL} {call.name}"
            own = span_id_of(turn.trace_id, call_id)
            span = Span(turn.trace_id, own, turn.span_id, name, call.start, end, error=error)
            span.attributes = call.attributes
            self._add(turn, span)

    # -- spans and their turn --------------------------------------------------------------------

    def _aside(self, place: _Place, span: Span) -> None:
        """Tell of something that is no turn's: in the trace of the request that asked for it, or in one of its own."""
        if place.chosen:
            self._export(span)

    def _add(self, turn: _Turn, span: Span) -> None:
        turn.failed = turn.failed or span.error is not None
        if turn.kept is not None:
            # What the turn began and somebody has ended later goes the way that the turn went.
            if turn.kept or span.error is not None:
                self._export(span)
        elif len(turn.spans) < self._sink.most:
            turn.spans.append(span)
        else:
            turn.dropped += 1

    def _export(self, span: Span) -> None:
        if span.end >= self._told_until:
            self._sink.export([span])

    def _finish(self) -> None:
        """Decide about the turns that are over."""
        for turn, root in self._ended:
            slow = self._sink.sampling.is_slow(root.start, root.end)
            turn.kept = turn.chosen or turn.failed or slow
            spans, turn.spans = turn.spans, []
            if turn.kept and root.end >= self._told_until:
                if turn.dropped:
                    root.attributes = {**root.attributes, names.DROPPED: turn.dropped}
                    self._sink.drop(turn.dropped)
                self._sink.keep(turn.trace_id, [root, *spans], exceptional=not turn.chosen)
        self._ended.clear()
