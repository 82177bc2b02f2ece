"""Where finished spans go: a queue for each place that takes them, and counts of what was dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from agents.telemetry.tracing.sampling import Sampling
from agents.telemetry.tracing.spans import Span


class SpanQueue(Protocol):
    """Takes spans to one place."""

    dropped: int
    failed: int

    def put(self, spans: Sequence[Span]) -> None:
        """Let spans wait. Returns at once."""
        ...


class SpanSink:
    """What the traces of one process share. Nothing here waits."""

    def __init__(
        self,
        sampling: Sampling,
        queues: Sequence[SpanQueue],
        *,
        most: int,
        on_exceptional: Callable[[int], None] = lambda _: None,
    ) -> None:
        """*most* spans of a turn are kept. *on_exceptional* hears of traces that are kept though not chosen."""
        self.sampling = sampling
        self.most = most
        self._queues = queues
        self._on_exceptional = on_exceptional
        self._exported = 0
        self._dropped = 0

    def export(self, spans: Sequence[Span]) -> None:
        """Give spans to whoever takes them."""
        self._exported += len(spans)
        for queue in self._queues:
            queue.put(spans)

    def keep(self, trace_id: int, spans: Sequence[Span], *, exceptional: bool) -> None:
        """Export a turn's spans; *exceptional* is one that is kept for what became of it."""
        self.export(spans)
        if exceptional:
            self._on_exceptional(trace_id)

    def drop(self, count: int) -> None:
        """Count spans for which a turn had no room."""
        self._dropped += count

    @property
    def figures(self) -> dict[str, int]:
        """Spans since the process began: finished, dropped for want of room, refused by a receiver or a disk."""
        return {
            "trace_spans": self._exported,
            "trace_spans_dropped": self._dropped + sum(queue.dropped for queue in self._queues),
            "trace_spans_failed": sum(queue.failed for queue in self._queues),
        }
