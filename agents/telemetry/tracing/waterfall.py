"""The spans of a session as trees, one for each trace, in the order in which they began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """One span on the page: how deep it stands, and when it was (ms from the trace's beginning)."""

    depth: int
    name: str
    service: str
    start_ms: float
    duration_ms: float
    error: str | None
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One trace: when it began, how long it took in all, and its spans, each below the one that it belongs to."""

    trace_id: str
    began: datetime
    duration_ms: float
    bars: Sequence[Bar]

    @property
    def errors(self) -> int:
        """Spans that failed."""
        return sum(bar.error is not None for bar in self.bars)


def waterfalls(spans: Iterable[Mapping[str, Any]]) -> list[Waterfall]:
    """Return the traces of *spans* (rows of ``session_spans``)."""
    traces: dict[str, list[Mapping[str, Any]]] = {}
    for span in spans:
        traces.setdefault(span["trace_id"], []).append(span)
    return sorted(map(_waterfall, traces.values()), key=lambda trace: trace.began)


def _waterfall(spans: Sequence[Mapping[str, Any]]) -> Waterfall:
    known = {span["span_id"] for span in spans}
    below: dict[str | None, list[Mapping[str, Any]]] = {}
    for span in spans:
        # A parent that is not here is the client's own, or was not kept.
        parent = span["parent_id"] if span["parent_id"] in known else None
        below.setdefault(parent, []).append(span)
    began, ended = min(span["start_time"] for span in spans), max(span["end_time"] for span in spans)
    bars: list[Bar] = []
    waiting = [(0, span) for span in reversed(below.get(None, []))]
    while waiting:
        depth, span = waiting.pop()
        start = (span["start_time"] - began).total_seconds() * 1000
        attributes = dict(span["attributes"] or {})
        bars.append(Bar(depth, span["name"], span["service"], start, span["duration_ms"], span["error"], attributes))
        waiting += [(depth + 1, each) for each in reversed(below.get(span["span_id"], []))]
    return Waterfall(spans[0]["trace_id"], began, (ended - began).total_seconds() * 1000, bars)
