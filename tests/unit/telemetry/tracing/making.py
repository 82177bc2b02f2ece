"""Spans for tests of what becomes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agents.telemetry.tracing.spans import Span, microseconds

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SESSION = "sesn_1"


def span(
    number: int,
    name: str = "append",
    *,
    parent: int | None = None,
    after: float = 0.0,
    seconds: float = 1.0,
    error: str | None = None,
    day: datetime = NOON,
    **attributes: str | int,
) -> Span:
    """One span of trace 7, *after* so many seconds."""
    start = microseconds(day + timedelta(seconds=after))
    known = {"gen_ai.conversation.id": SESSION, **{key.replace("__", "."): value for key, value in attributes.items()}}
    return Span(7, number, parent, name, start, start + round(seconds * 1e6), error=error, attributes=known)


def turn() -> list[Span]:
    """A turn as it is kept: the model is asked, a tool fails, the model is asked again."""
    return [
        span(1, "invoke_agent", after=0.1, seconds=3.9, hecaton__stop_reason="end_turn"),
        span(2, "chat m", parent=1, after=0.2, gen_ai__usage__input_tokens=10, gen_ai__usage__output_tokens=5),
        span(3, "execute_tool bash", parent=1, after=1.2, error="tool_error", gen_ai__tool__name="bash"),
        span(4, "chat m", parent=1, after=2.5, gen_ai__usage__input_tokens=20, gen_ai__usage__output_tokens=1),
        span(5, "think", parent=4, after=2.6, seconds=0.5),
    ]
