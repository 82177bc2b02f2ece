"""Which traces are kept: a part of all by their id, so that every process decides alike; and what went wrong or slowly.

The end of a turn decides, when it is known whether it failed and how long it took; until then its spans wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from agents.telemetry.tracing.settings import TraceSettings


@dataclass(frozen=True, slots=True)
class Sampling:
    """The rule of one platform."""

    bound: int
    """Traces whose id ends in less than this are kept."""
    slow: int
    """Microseconds from which on something is slow."""

    @classmethod
    def of(cls, settings: TraceSettings) -> Sampling:
        """Return the rule as configured."""
        return cls(TraceIdRatioBased.get_bound_for_rate(settings.ratio), round(settings.slow_seconds * 1_000_000))

    def chosen(self, trace_id: int) -> bool:
        """Whether a trace is kept whatever becomes of it."""
        return trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self.bound

    def is_slow(self, start: int, end: int) -> bool:
        """Whether what took from *start* to *end* (microseconds) is kept for that."""
        return end - start >= self.slow
