"""On which nodes the platform's own parts run: spread over the cluster, and not on GPU nodes while there are others.

Actors of a kind are numbered, and go round the nodes by their number. The wish is soft: when its node is gone
an actor starts again wherever there is room (Ray's own choice avoids GPU nodes too).
"""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_NODE_ID = "ray.io/node-id"


def placed(number: int) -> dict[str, Any]:
    """Return the options that place actor *number* of its kind. Blocks for a moment: it asks Ray for its nodes."""
    nodes = _cpu_nodes() or _alive()
    if not nodes:
        return {}
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(nodes[number % len(nodes)], soft=True)}


def off_gpu_nodes() -> dict[str, Any]:
    """Return the actor options that keep a Serve replica, which Serve spreads, off the GPU nodes there are now."""
    gpu_nodes = sorted(set(_alive()) - set(_cpu_nodes()))
    if not gpu_nodes or not _cpu_nodes():
        return {}
    return {"label_selector": {_NODE_ID: f"!in({','.join(gpu_nodes)})"}}


def _alive() -> list[str]:
    return sorted(node["NodeID"] for node in ray.nodes() if node["Alive"])


def _cpu_nodes() -> list[str]:
    return sorted(node["NodeID"] for node in ray.nodes() if node["Alive"] and not node["Resources"].get("GPU"))
