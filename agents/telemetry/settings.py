"""Settings of what the platform tells about itself: the section ``telemetry``."""

from __future__ import annotations

from agents.settings_base import Section
from agents.telemetry.tracing.settings import TraceSettings


class TelemetrySettings(Section):
    """What the platform tells about itself; see docs/metrics.md."""

    metrics: bool = True
    """Whether what happens is counted and timed for `/metrics` and Ray's charts; without it `/metrics` has only what
    each part says of itself when asked."""
    traces: TraceSettings = TraceSettings()
