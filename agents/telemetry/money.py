"""What the brains cost just now, and how many replicas run beyond the usual: for metrics."""

from __future__ import annotations

from collections.abc import Mapping

from agents.brain_settings import BrainDefinition
from agents.brains.registry import Registry


def money_figures(
    registry: Registry, replicas: Mapping[str, int], spent: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Return by the name of each declared brain what it costs in an hour, USD, all its versions together.

    *replicas* run of each version (by id); answers of each brain (by name) have cost *spent* micro-USD in the last
    hour. What has GPUs at a price costs what its replicas do. The ceiling is left out where there is none.
    """
    figures: dict[str, dict[str, float]] = {}
    for name in (brain.name for brain in registry.heads if registry.declared):
        versions = registry.versions(name).values()
        running = [(each.definition, replicas.get(each.id, 0)) for each in versions]
        by_hour = any(definition.replica_usd_per_hour for definition, _ in running)
        cost = sum(float(definition.replica_usd_per_hour) * count for definition, count in running)
        ceilings = [definition.price.ceiling_usd_per_hour for definition, _ in running]
        given = [ceiling for ceiling in ceilings if ceiling is not None]
        figures[name] = {
            "replicas_running": sum(count for _, count in running),
            "replicas_beyond_max": sum(_beyond(definition, count) for definition, count in running),
            "usd_per_hour": cost if by_hour else spent.get(name, 0) / 1_000_000,
        }
        if given:
            figures[name]["ceiling_usd_per_hour"] = max(given)
    return figures


def _beyond(definition: BrainDefinition, replicas: int) -> int:
    # Without a burst there may be one more for a moment, while they are replaced.
    return max(0, min(replicas, definition.burst_replicas) - definition.most_replicas)
