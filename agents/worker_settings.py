"""Settings of self-hosted environments: the queue of work, as this server keeps it for workers elsewhere."""

from __future__ import annotations

from pydantic import Field

from agents.settings_base import Section


class WorkerSettings(Section):
    """Workers of self-hosted environments; see docs/workers.md."""

    lease_seconds: int = Field(default=60, ge=2, le=300)
    """How long an item of work is its worker's without a heartbeat; then another worker may have it."""
    max_lease_seconds: int = Field(default=300, ge=2, le=3600)
    """The longest lease that a worker may ask for."""
    look_seconds: float = Field(default=0.2, gt=0, le=1)
    """While workers wait for work, each replica of the edge looks so often whether there is any, for all of them
    at once."""
    max_keys: int = Field(default=100, ge=1)
    """Keys of one environment that are not revoked."""
