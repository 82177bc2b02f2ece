"""The experiments that ship can be read, and every platform of theirs has valid settings (ours)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.config import Settings
from agents.errors import InvalidRequest
from agents.experiments.plan import Plan, read_plan
from agents.experiments.running.deploying import hand_definitions, platform_settings
from agents.hand_settings import HandDefinition
from agents.settings_base import laid_over

FOLDER = Path(__file__).parents[3] / "benchmarks" / "experiments"
SHIPPED = sorted(FOLDER.glob("*.yaml"))


def settings_of(plan: Plan, number: int) -> dict[str, Any]:
    """All settings of a topology's platform, checked, with what its hands are."""
    topology = plan.topologies[number]
    hands = {
        name: HandDefinition.model_validate(given).model_dump(mode="json")
        for name, given in hand_definitions(plan, topology, FOLDER).items()
    }
    settings = Settings.model_validate(platform_settings(plan, topology)).model_dump(mode="json")
    return {**settings, "hands": hands}


def differences(one: Any, other: Any, key: str = "") -> set[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {*one, *other}
        return {
            each for name in keys for each in differences(one.get(name), other.get(name), f"{key}.{name}".strip("."))
        }
    return set() if one == other else {key}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_an_experiment_that_ships_is_a_plan_of_valid_platforms(path: Path) -> None:
    plan = read_plan(path)
    assert plan.name == path.stem
    for number in range(len(plan.topologies)):
        assert settings_of(plan, number)["hands"].keys() == {"crm", "billing", "analytics"}


def test_those_that_the_proof_is_made_of_ship() -> None:
    assert {path.stem for path in SHIPPED} >= {"proof", "ablation", "scale", "trace", "smoke", "faults"}


def test_a_topology_of_the_ablation_leaves_out_one_mechanism_and_nothing_else() -> None:
    plan = read_plan(FOLDER / "ablation.yaml")
    whole = settings_of(plan, 0)
    places = {
        f"hands.{hand}.{key}" for hand in ("crm", "billing", "analytics") for key in ("max_replicas", "concurrency")
    }
    assert {
        each.name: differences(whole, settings_of(plan, number)) for number, each in enumerate(plan.topologies)
    } == {
        "decoupled": set(),
        "monolith": {"topology"},
        "monolith-64-turns": {"topology", "monolith.turns"},
        "serial-hands": {*places, "sandbox.max_parallel_calls"},
        "eager-sandboxes": {"sandbox.provision"},
        "cold-sandboxes": {"sandbox.warm"},
        "whole-contexts": {"brain.context_cache_bytes"},
        "no-hand-cache": {"hand_cache.ttl_seconds"},
    }


def test_the_topologies_of_the_proof_differ_in_nothing_else() -> None:
    plan = read_plan(FOLDER / "proof.yaml")
    assert differences(settings_of(plan, 0), settings_of(plan, 1)) == {"topology"}
    assert plan.baseline == "monolith"
    assert set(plan.workloads) == {"support", "extraction", "recommendation"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "serial"}, "baseline 'serial' is none of the topologies"),
        ({"warm_up_seconds": 5}, "warm_up_seconds must be less than seconds"),
        ({"arrivals": [{"kind": "poisson", "load": [0]}]}, "arrivals.0: load must be above 0"),
        ({"arrivals": [{"kind": "closed", "load": [2.5]}]}, "arrivals.0: load of a closed loop is a number"),
        ({"arrivals": [{"kind": "trace", "load": [1]}]}, "arrivals.0: trace names the file"),
        ({"workloads": {"gaming": {"seconds": 1, "first_seconds": 1}}}, "workloads.gaming"),
        ({"hands": {"median_seconds": -1}}, "hands.median_seconds"),
        ({"hand": {}}, "hand: "),
        ({"prices": {"gpu_usd_per_hour": -1}}, "prices.gpu_usd_per_hour: "),
        ({"prices": {"transfer_usd_per_gb": 1}}, "prices: an experiment pays for GPUs and hands alone"),
        ({"faults": {"every_seconds": 1, "parts": ["brain"]}}, "faults come between the warm-up and 5 s before"),
        ({"faults": {"every_seconds": 0, "parts": ["brain"]}}, "faults.every_seconds: "),
        ({"faults": {"every_seconds": 8, "parts": []}}, "faults.parts: "),
        ({"faults": {"every_seconds": 8, "parts": ["gateway"]}}, "faults.parts.0: "),
    ],
)
def test_a_fault_of_a_plan_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    content = yaml.safe_load((FOLDER / "smoke.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(laid_over(content, change)))
    with pytest.raises(InvalidRequest, match=f"mine.yaml: {said}"):
        read_plan(path)


def test_a_trace_is_looked_for_beside_its_plan(tmp_path: Path) -> None:
    content = yaml.safe_load((FOLDER / "smoke.yaml").read_text())
    content["arrivals"] = [{"kind": "trace", "load": [1], "trace": "traces/mine.csv"}]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    assert read_plan(path).arrivals[0].trace == tmp_path / "traces" / "mine.csv"
