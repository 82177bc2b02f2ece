"""Deployment options of the replicas that links lead to, past Serve: those of brains, of hands, of the monolith."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.placement import brain_placement
from agents.brain_settings import BrainDefinition, BrainResources

LEAVE_SECONDS = 5.0
"""For so long a replica that ends tries to tell the fleet."""
_CLOSE_SECONDS = 5.0


def replica_options(
    resources: BrainResources, brains: Sequence[BrainDefinition], *, drain_seconds: float
) -> dict[str, Any]:
    """Return what places, checks and ends a replica that holds *brains*, and that drains itself in *drain_seconds*.

    Blocks for a moment: it asks Ray for its nodes.
    """
    stopping = max((each.server.stop_seconds for each in brains if each.engine == "server"), default=0)
    return {
        **brain_placement(resources),
        **served_past_serve(drain_seconds=drain_seconds + stopping),
        # Each new replica before an old one goes; but there may be no other GPU for it.
        "max_surge_percent": 0 if resources.num_gpus else 1,
    }


def served_past_serve(*, drain_seconds: float) -> dict[str, Any]:
    """Return what checks and ends a replica whose requests Serve does not see, and that drains itself."""
    return {
        # Serve sees no request on a replica: it need not wait for any, and the replica itself drains within this time.
        "graceful_shutdown_wait_loop_s": 0.1,
        # Serve learns of a replica's death by its checks: at the default of ten seconds whoever needs it waits so long.
        "health_check_period_s": 2.0,
        "graceful_shutdown_timeout_s": LEAVE_SECONDS + drain_seconds + _CLOSE_SECONDS,
        "max_surge_percent": 1,
        "logging_config": {"enable_access_log": False},
    }
