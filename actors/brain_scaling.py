"""How many replicas a brain has: fixed, or steered by what its replicas say they have to do.

Serve counts the requests that it carries itself; model requests travel over links (docs/adr/0007). So each replica
reports its load as a metric of its own (``record_autoscaling_stats``), every ten seconds, and Serve's controller
decides by these. Serve applies the bounds and the delays.
"""

from __future__ import annotations

from typing import Any

from ray.serve.config import AutoscalingContext, AutoscalingPolicy

from agents.brain_settings import BrainScaling

LOAD = "load"
"""Name of the metric: requests on the replica, and its share of those that wait for a place on any."""

# Serve wants more than the ten seconds between two reports; its default of 30 s hides a spike for long.
_LOOK_BACK_SECONDS = 15.0
# Serve knows of a wake-up for as long as it looks back and from one report to the next, and would start a replica
# again for one that was answered long ago.
_FORGOTTEN_SECONDS = 30.0


def scaling_options(scaling: BrainScaling) -> dict[str, Any]:
    """Return the deployment options that say how many replicas there are."""
    if scaling.min_replicas == scaling.max_replicas:
        return {"num_replicas": scaling.max_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": scaling.min_replicas,
            "max_replicas": scaling.max_replicas,
            "target_ongoing_requests": scaling.target_ongoing_requests,
            "upscale_delay_s": scaling.upscale_delay_seconds,
            "downscale_delay_s": scaling.downscale_delay_seconds,
            "downscale_to_zero_delay_s": max(scaling.downscale_delay_seconds, _FORGOTTEN_SECONDS),
            "look_back_period_s": _LOOK_BACK_SECONDS,
            "policy": AutoscalingPolicy(policy_function=replicas_for_load),
        }
    }


def replicas_for_load(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Return how many replicas the load wants: an autoscaling policy of Serve's, called in its controller.

    While no replica has reported, nothing changes. What starts the first one is a request that waits at Serve itself
    (``actors.brain_waker``), and Serve decides that before it asks.
    """
    reported = (context.aggregated_metrics or {}).get(LOAD, {})
    if not reported:
        return context.target_num_replicas, {}
    assert context.config is not None
    return sum(reported.values()) / context.config.get_target_ongoing_requests(), {}
