"""Where parts go: round the nodes, off GPU nodes and off nodes that are kept for Ray, while there are others."""

from __future__ import annotations

from typing import Any

import pytest

from actors.placement import off_gpu_nodes, placed


def hexadecimal(name: str) -> str:
    """Ray wants ids that look like its own."""
    return name.encode().hex().ljust(56, "0")


def node(name: str, *, cpus: float = 2, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    resources = {key: value for key, value in (("CPU", cpus), ("GPU", gpus)) if value}
    return {"NodeID": hexadecimal(name), "Alive": alive, "Resources": resources}


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr("actors.placement.ray.nodes", lambda: found)
    return found


def places(count: int) -> list[str]:
    found = [placed(number)["scheduling_strategy"] for number in range(count)]
    assert all(each.soft for each in found), "an actor whose node is gone must start elsewhere"
    return [bytes.fromhex(each.node_id).rstrip(b"\0").decode() for each in found]


def test_actors_go_round_the_nodes_and_avoid_gpus_dead_nodes_and_a_head_without_cpus(
    nodes: list[dict[str, Any]],
) -> None:
    nodes += [node("c"), node("head", cpus=0), node("gpu", gpus=1), node("a"), node("dead", alive=False)]
    assert places(5) == ["a", "c", "a", "c", "a"]
    assert off_gpu_nodes() == {"label_selector": {"ray.io/node-id": f"!in({hexadecimal('gpu')})"}}


def test_where_there_are_only_gpu_nodes_they_are_used(nodes: list[dict[str, Any]]) -> None:
    nodes += [node("g2", gpus=1), node("g1", gpus=8)]
    assert places(2) == ["g1", "g2"]
    assert off_gpu_nodes() == {}


def test_one_node_takes_all(nodes: list[dict[str, Any]]) -> None:
    nodes.append(node("only"))
    assert places(3) == ["only"] * 3
    assert off_gpu_nodes() == {}
