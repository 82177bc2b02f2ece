"""On which nodes the platform's own parts run: spread over the cluster, and not on GPU nodes while there are others.

Actors of a kind are numbered, and go round the nodes by their number. The wish is soft: when its node is gone
an actor starts again wherever there is room (Ray's own choice avoids GPU nodes too). Brains go where their
declaration says; one that needs no GPU and names no nodes keeps off GPU nodes like the rest.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from agents.brain_settings import BrainResources

_NODE_ID = "ray.io/node-id"
# Ray's own way to ask for a node with an accelerator: a crumb of a resource that only such nodes have.
_CRUMB = 0.001
HARDLY_A_CPU = 0.01
"""For an actor that mostly waits: Ray puts one that needs nothing on any node at random, whatever is wished."""
HANDS_CPUS = 0.1
"""For a sandbox host: tools are processes of their own, and bring their own requests."""


def placed(number: int) -> dict[str, Any]:
    """Return the options that place actor *number* of its kind. Blocks for a moment: it asks Ray for its nodes."""
    names = nodes_for_us()
    return on_node(names[number % len(names)]) if names else {}


def on_node(node: str) -> dict[str, Any]:
    """Return the options that place an actor on a node, as long as there is that node."""
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}


def nodes_for_us() -> list[str]:
    """Name (by id) the nodes that the platform's own parts go to. Blocks for a moment."""
    nodes = _nodes()
    return [node["NodeID"] for node in _for_us(nodes) or nodes]


def off_gpu_nodes() -> dict[str, Any]:
    """Return the actor options that keep a Serve replica, which Serve spreads, off the GPU nodes there are now."""
    nodes = _nodes()
    gpu_nodes = [node["NodeID"] for node in nodes if _has(node, "GPU")]
    if not gpu_nodes or not _for_us(nodes):
        return {}
    return {"label_selector": {_NODE_ID: f"!in({','.join(gpu_nodes)})"}}


def brain_placement(resources: BrainResources) -> dict[str, Any]:
    """Return the deployment options that place a brain's replicas. Blocks for a moment: it asks Ray for its nodes.

    A replica reserves all GPUs of its model itself, so that it sees every one of them (CUDA_VISIBLE_DEVICES) and
    they are on one node.
    """
    if resources.tensor_parallel > 1:
        return _in_one_bundle(resources)
    options: dict[str, Any] = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus}
    if resources.accelerator_type is not None:
        options["accelerator_type"] = resources.accelerator_type
    if resources.labels:
        options["label_selector"] = dict(resources.labels)
    elif not resources.num_gpus and resources.accelerator_type is None:
        options |= off_gpu_nodes()
    return {"ray_actor_options": options}


def _in_one_bundle(resources: BrainResources) -> dict[str, Any]:
    count = resources.tensor_parallel
    cpus, gpus = resources.num_cpus * count, resources.num_gpus * count
    bundle = {"CPU": cpus, "GPU": gpus}
    if resources.accelerator_type is not None:
        bundle[f"accelerator_type:{resources.accelerator_type}"] = _CRUMB
    options: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": cpus, "num_gpus": gpus},
        "placement_group_bundles": [{name: amount for name, amount in bundle.items() if amount}],
        "placement_group_strategy": "STRICT_PACK",
    }
    if resources.labels:
        options["placement_group_bundle_label_selector"] = [dict(resources.labels)]
    return options


def _nodes() -> list[dict[str, Any]]:
    return sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeID"])


def _for_us(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the nodes without GPU; one without CPUs (a head, often) is kept for Ray by whoever set it up so."""
    return [node for node in nodes if _has(node, "CPU") and not _has(node, "GPU")]


def _has(node: dict[str, Any], resource: str) -> bool:
    return bool(node["Resources"].get(resource))
