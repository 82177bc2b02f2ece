"""What all brains need together when one process holds them (the monolith)."""

from __future__ import annotations

from collections.abc import Sequence

from agents.brain_settings import BrainResources
from agents.brains.registry import RegisteredBrain
from agents.errors import InvalidRequest


def resources_together(brains: Sequence[RegisteredBrain]) -> BrainResources:
    """Return what a process needs that holds *brains*. Raises InvalidRequest when they do not fit into one.

    Engines do not know of each other: each would take the process's first GPU for its own. So at most one may say where
    it must run.
    """
    bound = [brain for brain in brains if _is_bound(brain.definition.resources)]
    if len(bound) > 1:
        raise InvalidRequest(
            "topology: in a monolith at most one brain may ask for GPUs, an accelerator or nodes; these do: "
            + ", ".join(brain.id for brain in bound)
        )
    cpus = sum(brain.definition.resources.num_cpus for brain in brains)
    if not bound:
        return BrainResources(num_cpus=cpus)
    resources = bound[0].definition.resources
    # A brain on several GPUs counts its CPUs for each of them.
    own = resources.num_cpus * resources.tensor_parallel
    others = cpus - resources.num_cpus
    return resources.model_copy(update={"num_cpus": (own + others) / resources.tensor_parallel})


def places_together(brains: Sequence[RegisteredBrain]) -> int:
    """Return how many turns may go on so that whichever of *brains* they ask has a place for each."""
    return min(brain.definition.max_ongoing_requests for brain in brains)


def _is_bound(resources: BrainResources) -> bool:
    return bool(resources.num_gpus or resources.accelerator_type or resources.labels)
