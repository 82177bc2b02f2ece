"""On which nodes the platform's own parts run: spread over the cluster, and not on GPU nodes while there are others.

Actors of a kind are numbered, and go round the nodes by their number. The wish is soft: when its node is gone
an actor starts again wherever there is room (Ray's own choice avoids GPU nodes too).
"""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_NODE_ID = "ray.io/node-id"
HARDLY_A_CPU = 0.01
"""For an actor that mostly waits: Ray puts one that needs nothing on any node at random, whatever is wished."""


def placed(number: int) -> dict[str, Any]:
    """Return the options that place actor *number* of its kind. Blocks for a moment: it asks Ray for its nodes."""
    nodes = _nodes()
    names = [node["NodeID"] for node in _for_us(nodes) or nodes]
    if not names:
        return {}
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(names[number % len(names)], soft=True)}


def off_gpu_nodes() -> dict[str, Any]:
    """Return the actor options that keep a Serve replica, which Serve spreads, off the GPU nodes there are now."""
    nodes = _nodes()
    gpu_nodes = [node["NodeID"] for node in nodes if _has(node, "GPU")]
    if not gpu_nodes or not _for_us(nodes):
        return {}
    return {"label_selector": {_NODE_ID: f"!in({','.join(gpu_nodes)})"}}


def _nodes() -> list[dict[str, Any]]:
    return sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeID"])


def _for_us(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the nodes without GPU; one without CPUs (a head, often) is kept for Ray by whoever set it up so."""
    return [node for node in nodes if _has(node, "CPU") and not _has(node, "GPU")]


def _has(node: dict[str, Any], resource: str) -> bool:
    return bool(node["Resources"].get(resource))
