"""How many replicas a brain has: fixed, or steered by what its replicas say they have to do.

Serve counts the requests that it carries itself; model requests travel over links (docs/adr/0007). So each replica
reports its load as a metric of its own (``record_autoscaling_stats``), every ten seconds, and Serve's controller
decides by these. Serve applies the delays and the outermost bounds; beyond ``max_replicas`` only a burst goes
(``agents.brains.bursts``), as far as its money reaches.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from decimal import Decimal
from math import ceil
from typing import Any, ClassVar

from ray.serve.config import AutoscalingContext, AutoscalingPolicy

from agents.brains.bursts import BurstGate
from agents.brains.purse import Purse
from agents.brains.registry import RegisteredBrain

# Serve's own, for the policy runs in its controller, whose log is where its decisions are looked for.
logger = logging.getLogger("ray.serve")

LOAD = "load"
"""Name of the metric: requests on the replica, and its share of those that wait for a place on any."""

# Serve wants more than the ten seconds between two reports; its default of 30 s hides a spike for long.
_LOOK_BACK_SECONDS = 15.0
# Serve knows of a wake-up for as long as it looks back and from one report to the next, and would start a replica
# again for one that was answered long ago.
_FORGOTTEN_SECONDS = 30.0


def scaling_options(brain: RegisteredBrain, versions: Collection[RegisteredBrain]) -> dict[str, Any]:
    """Return the deployment options that say how many replicas there are of one of a brain's *versions*."""
    definition, scaling = brain.definition, brain.definition.scaling
    if not definition.steered:
        return {"num_replicas": definition.most_replicas}
    kwargs = {
        "brain": brain.id,
        "usual": definition.most_replicas,
        "most": definition.burst_replicas,
        "load_factor": scaling.burst.load_factor,
        "start_seconds": scaling.burst.start_seconds,
        "usd_per_hour": float(definition.replica_usd_per_hour),
    }
    if (together := _together(brain, versions)) is not None:
        kwargs["together"] = together
    return {
        "autoscaling_config": {
            "min_replicas": scaling.min_replicas,
            # Serve's own bound is that of a burst; without one, the policy keeps to the lower.
            "max_replicas": definition.burst_replicas,
            "target_ongoing_requests": scaling.target_ongoing_requests,
            "upscale_delay_s": scaling.upscale_delay_seconds,
            "downscale_delay_s": scaling.downscale_delay_seconds,
            "downscale_to_zero_delay_s": max(scaling.downscale_delay_seconds, _FORGOTTEN_SECONDS),
            "look_back_period_s": _LOOK_BACK_SECONDS,
            "policy": AutoscalingPolicy(policy_function=ReplicasForLoad, policy_kwargs=kwargs),
        }
    }


def _together(brain: RegisteredBrain, versions: Collection[RegisteredBrain]) -> dict[str, Any] | None:
    """Return what *brain* has to share with its other *versions*, of which the first has the ceiling of all."""
    ceiling = next((first.definition.price.ceiling_usd_per_hour for first in versions), None)
    others = {each.id: float(each.definition.least_usd_per_hour) for each in versions if each.id != brain.id}
    if ceiling is None or not others or not brain.definition.replica_usd_per_hour:
        return None
    return {"name": brain.name, "usd_per_hour": ceiling, "others": others}


class ReplicasForLoad:
    """An autoscaling policy of Serve's: made in its controller for one deployment, and called there.

    What it knows goes with the controller; of a burst, the next one sees the replicas.
    """

    _purses: ClassVar[defaultdict[str, Purse]] = defaultdict(Purse)
    """The purse of each brain, by name."""

    def __init__(
        self,
        brain: str,
        usual: int,
        most: int,
        load_factor: float,
        start_seconds: float,
        usd_per_hour: float,
        together: Mapping[str, Any] | None = None,
    ) -> None:
        """*usual* and *most* replicas, at *usd_per_hour* each; see ``scaling.burst`` for the rest of a burst.

        *together* is what this version shares with the other ones of its brain (``_together``).
        """
        self._brain = brain
        self._usual = usual
        self._most = most
        self._usd_per_hour = usd_per_hour
        self._together = together
        self._gate = BurstGate(usual, most, load_factor=load_factor, start_seconds=start_seconds)

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Return how many replicas the load wants, of those there may be.

        While no replica has reported, nothing changes. What starts the first one is a request that waits at Serve
        itself (``actors.app_waker``), and Serve decides that before it asks.
        """
        assert context.current_time is not None
        replicas = self._wanted(context, context.current_time)
        if self._together is not None:
            replicas = self._shared(replicas, context, context.current_time)
        return replicas, {}

    def _wanted(self, context: AutoscalingContext, now: float) -> float:
        """Return how many the load wants, of those that there may be of this version."""
        reported = (context.aggregated_metrics or {}).get(LOAD, {})
        if not reported:
            return context.target_num_replicas
        assert context.config is not None
        wanted = sum(reported.values()) / context.config.get_target_ongoing_requests()
        bursting = self._gate.bursting
        allowed = self._gate.allowed(wanted, context.target_num_replicas, now)
        if self._gate.bursting != bursting:
            self._tell(wanted)
        return min(wanted, allowed)

    def _shared(self, replicas: float, context: AutoscalingContext, now: float) -> float:
        """Return *replicas*, or as many as the other versions leave money for."""
        assert self._together is not None
        purse, cost = self._purses[self._together["name"]], Decimal(str(self._usd_per_hour))
        others = {version: Decimal(str(least)) for version, least in self._together["others"].items()}
        left = purse.left(Decimal(str(self._together["usd_per_hour"])), others, now)
        replicas = min(replicas, max(1, int(left // cost)))
        there = max(ceil(replicas), context.target_num_replicas, context.current_num_replicas)
        purse.say(self._brain, there * cost, now)
        return replicas

    def _tell(self, wanted: float) -> None:
        if self._gate.bursting:
            logger.warning(
                "%s bursts beyond its %d replicas: the load wants %.1f; up to %d may run, for %g USD per hour",
                self._brain,
                self._usual,
                wanted,
                self._most,
                self._most * self._usd_per_hour,
            )
        else:
            logger.warning("the burst of %s is over: it has its %d replicas again", self._brain, self._usual)
