"""``ray.cluster_utils.Cluster`` in a process of its own: raylets on one machine, added and removed at a word.

Reads one JSON command per line and answers each with one line. A Ray cluster in the runner's own process
would make the runner a part of what it kills.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

_STORE_BYTES = 80 * 1024 * 1024
"""Object store of a node: nearly nothing goes through it, and many nodes share this machine's memory."""


class Nodes:
    """The cluster and its nodes by name; the head's is ``head``."""

    def __init__(self, temp_dir: Path, head_cpus: int) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": head_cpus, "include_dashboard": False, "temp_dir": str(temp_dir)}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args={**head, "object_store_memory": _STORE_BYTES})
        self._nodes: dict[str, Any] = {"head": self._cluster.head_node}

    def address(self) -> str:
        return self._cluster.address

    def add(self, name: str, cpus: int, gpus: int) -> dict[str, int]:
        labels = {"hecaton-part": "gpu" if gpus else "cpu"}
        self._nodes[name] = self._cluster.add_node(
            num_cpus=cpus, num_gpus=gpus, labels=labels, object_store_memory=_STORE_BYTES
        )
        return self.raylets()

    def remove(self, name: str, graceful: bool) -> dict[str, int]:
        """Remove a node: politely, as a scale-down does, or by SIGKILL (it may be dead already)."""
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=graceful)
        return self.raylets()

    def raylets(self) -> dict[str, int]:
        """Return the pid of each node's raylet."""
        return {name: node.all_processes["raylet"][0].process.pid for name, node in self._nodes.items()}

    def actors(self) -> dict[int, str]:
        """Return the names of the living actors by pid."""
        table = self._cluster.global_state.actor_table(None)
        return {row["Pid"]: row["Name"] or row["ActorClassName"] for row in table.values() if row["State"] == "ALIVE"}

    def obey(self, order: dict[str, Any]) -> Any:
        match order.pop("do"):
            case "address":
                return self.address()
            case "add":
                return self.add(**order)
            case "remove":
                return self.remove(**order)
            case "actors":
                return self.actors()
            case unknown:
                raise ValueError(f"no such order: {unknown}")

    def close(self) -> None:
        self._cluster.shutdown()


def main() -> int:
    """Run until standard input ends. Arguments: Ray's directory, the head's CPUs."""
    # Ray and what it starts print to standard output; the answers keep theirs to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    nodes = Nodes(Path(sys.argv[1]), int(sys.argv[2]))
    try:
        for line in sys.stdin:
            try:
                answer = {"answer": nodes.obey(json.loads(line))}
            except Exception as error:
                answer = {"error": repr(error)}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    finally:
        nodes.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
