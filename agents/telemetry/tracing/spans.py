"""What a trace is made of, as it is kept until somebody exports it.

A turn makes a dozen of these on the hot path and most of what a span of OpenTelemetry's SDK can do is of no use there,
so they become spans of the SDK's only on the way to a receiver (``otlp``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Value = str | int | float | bool | tuple[str, ...]
Kind = Literal["internal", "server", "client"]


@dataclass(slots=True)
class Span:
    """One span. Times are microseconds since the epoch; ``error`` is what went wrong, as a word, None: nothing."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    start: int
    end: int
    kind: Kind = "internal"
    error: str | None = None
    attributes: Mapping[str, Value] = field(default_factory=lambda: {})
    service: str = ""
    """The part that it happened in, where that is not the one that exports it."""


def microseconds(moment: datetime) -> int:
    """Return an aware time as microseconds since the epoch."""
    return round(moment.timestamp() * 1_000_000)
