"""A Ray cluster that fetches raylets of two kinds by itself (autoscaler v2), on one machine.

Ray's fake node provider starts a raylet for each node. It is named as an external one: under its own name
(``fake_multinode``) Ray wants a file of defaults that its package does not contain (2.60; ``AutoscalingCluster`` of
``ray.cluster_utils`` wants it too).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)
from ray.autoscaler.v2.sdk import get_cluster_status

from tests.cluster.ray_head import RayHead

PART = "hecaton/part"
"""The label of a node's kind, as in cluster/kubernetes."""
_IDLE_MINUTES = 0.05
_STORE_BYTES = 80 * 1024 * 1024
# What Ray asks to be there, though it goes on no machine to set it up.
_SETTING_UP = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
    "cluster_synced_files",
)

FOR_ALL = {"RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
"""Variables of every process of such a cluster."""
FOR_THE_HEAD = {"RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID}
"""Variables of the process that starts the head: by this id the provider knows it."""


def autoscaling(file: Path, gcs_port: int, kinds: dict[str, dict[str, int]], most: int) -> list[str]:
    """Return the options of ``ray start`` for a head that fetches up to *most* nodes of each kind.

    *kinds* gives the resources of each; nodes have their kind as the label ``PART``. *file* is written.
    """
    provider = {
        "type": "external",
        "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
        "gcs_address": f"127.0.0.1:{gcs_port}",
        "head_node_id": FAKE_HEAD_NODE_ID,
        "launch_multiple": True,
        "disable_node_updaters": True,
    }
    types: dict[str, Any] = {FAKE_HEAD_NODE_TYPE: {"resources": {}, "node_config": {}, "max_workers": 0}}
    for kind, resources in kinds.items():
        types[kind] = {
            "resources": {**resources, "object_store_memory": _STORE_BYTES},
            "labels": {PART: kind},
            "node_config": {},
            "min_workers": 0,
            "max_workers": most,
        }
    config = {
        "cluster_name": "several",
        "max_workers": most * len(kinds),
        "idle_timeout_minutes": _IDLE_MINUTES,
        "provider": provider,
        "available_node_types": types,
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "auth": {},
        "file_mounts": {},
        **{name: [] for name in _SETTING_UP},
    }
    file.write_text(json.dumps(config))
    return [f"--autoscaling-config={file}"]


class Fetched:
    """The nodes that a cluster has fetched; its methods block."""

    def __init__(self, head: RayHead) -> None:
        self._url = f"{head.dashboard}/api/v0/nodes"
        self._gcs = f"127.0.0.1:{head.port}"

    def now(self) -> Counter[str]:
        """Count those that live, by kind."""
        return Counter(node["labels"][PART] for node in self._nodes() if node["state"] == "ALIVE")

    def ever(self) -> Counter[str]:
        """Count those that there have been, by kind."""
        return Counter(node["labels"][PART] for node in self._nodes())

    def at_their_bound(self) -> bool:
        """Return whether something waits for a node, and no node is on its way."""
        status = get_cluster_status(self._gcs)
        return bool(status.resource_demands.ray_task_actor_demand) and not [
            *status.pending_launches,
            *status.pending_nodes,
        ]

    def _nodes(self) -> list[dict[str, Any]]:
        said = httpx.get(self._url, params={"limit": 100, "detail": True}, timeout=30).raise_for_status().json()
        return [node for node in said["data"]["result"]["result"] if not node["is_head_node"]]
