"""What the other end of a link did for a call, as a span below the one that the call was made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from agents.telemetry.tracing import names
from agents.telemetry.tracing.context import TraceContext, handing_on
from agents.telemetry.tracing.ids import span_id_of
from agents.telemetry.tracing.spans import Span, Value


def asking_far(
    near: TraceContext, service: str, name: str, attributes: Mapping[str, Value], take: Callable[[Span], None]
) -> AbstractContextManager[None]:
    """Have calls that go out on links in here belong to *near*.

    What the *service* did for each becomes a span called *name*, which *take* gets when the answer is there.
    """

    def told(link: str, start: int, end: int, error: str | None) -> None:
        own = span_id_of(near.span_id, f"{name}/{start}")
        about = {**attributes, names.LINK: link}
        take(Span(near.trace_id, own, near.span_id, name, start, end, "server", error, about, service))

    return handing_on(near, told)
