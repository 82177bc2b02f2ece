"""Settings of deployments."""

from __future__ import annotations

from pydantic import Field

from agents.settings_base import Section


class DeploymentSettings(Section):
    """Deployments and their schedules; see docs/deployments.md."""

    enabled: bool = True
    """Whether the gateways of this installation fire schedules. Unset it on a copy that was restored beside its
    original: both would fire."""
    scan_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often each gateway looks for schedules that are due."""
    late_seconds: float = Field(default=600.0, ge=60, le=3600)
    """A fire that the platform could not make in time, because it or its database was away, is made up for within so
    long, the newest one only; older ones are left out."""
    max_scheduled: int = Field(default=1000, ge=1, le=100_000)
    """Deployments with a schedule that are not archived (spec A.11: 1 000 of an organisation)."""
    keep_days: int = Field(default=90, ge=1, le=3650)
    """Runs that ended earlier are removed; their sessions stay."""
