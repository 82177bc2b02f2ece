"""Which platforms an experiment runs: the same for every topology but for what it differs in, in alternating order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.config import Settings
from agents.experiments.plan import Plan
from agents.experiments.running.deploying import brain_of, hand_definitions, platform_settings, rounds_of, turn_places
from agents.hand_settings import HandDefinition


def plan_of(**more: Any) -> Plan:
    given: dict[str, Any] = {
        "name": "p",
        "topologies": [
            {"name": "monolith", "topology": "monolith"},
            {"name": "decoupled"},
            {"name": "no-stock", "settings": {"sandbox": {"warm": 0}, "hands": {"crm": {"max_replicas": 1}}}},
        ],
        "workloads": {"support": {"seconds": 5, "first_seconds": 1}},
        "arrivals": [{"kind": "closed", "load": [2]}],
        "gpus": 2,
        "brain": {"max_batch": 3},
        "hands": {"median_seconds": 0.25, "sigma": 0.5},
        "settings": {"sandbox": {"warm": 4, "hosts": 2}},
    }
    return Plan.model_validate(given | more)


def test_rounds_take_turns_in_the_order_abba() -> None:
    plan = plan_of()
    order = [(number, topology.name[0]) for number, topology in rounds_of(plan.topologies[:2], 4)]
    assert order == [(0, "m"), (0, "d"), (1, "d"), (1, "m"), (2, "m"), (2, "d"), (3, "d"), (3, "m")]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_topology_has_the_same_brain_on_as_many_gpus(place: int) -> None:
    plan = plan_of()
    settings = Settings.model_validate(platform_settings(plan, plan.topologies[place]))
    assert settings.topology == plan.topologies[place].topology
    (brain,) = settings.brains.values()
    assert (brain.engine, brain.simulated, brain.max_ongoing_requests) == ("simulated", plan.brain, 3)
    assert brain.scaling.min_replicas == brain.scaling.max_replicas == settings.monolith.replicas == 2


def test_what_a_topology_says_is_laid_over_what_all_have() -> None:
    plan = plan_of()
    usual, other = (platform_settings(plan, plan.topologies[place])["sandbox"] for place in (1, 2))
    assert usual == {"warm": 4, "hosts": 2}
    assert other == {"warm": 0, "hosts": 2}


def test_a_monolith_has_a_place_for_a_turn_where_the_brain_has_one_for_a_request() -> None:
    plan = plan_of()
    monolith, decoupled, _ = (platform_settings(plan, topology) for topology in plan.topologies)
    assert turn_places(monolith) == 2 * 3
    assert turn_places(decoupled) == 0


def test_a_brain_of_the_plan_takes_the_simulated_ones_place() -> None:
    plan = plan_of(settings={"brains": {"qwen": {"engine": "claude", "model": "m"}}})
    settings = platform_settings(plan, plan.topologies[1])
    assert brain_of(settings) == "qwen"
    assert list(settings["brains"]) == ["qwen"]


def test_hands_have_the_plans_times_and_their_own_data(tmp_path: Path) -> None:
    plan = plan_of()
    usual, other = (hand_definitions(plan, plan.topologies[place], tmp_path)["crm"] for place in (1, 2))
    variables = HandDefinition.model_validate(usual).runtime_env.env_vars
    assert str(tmp_path) in variables.values()
    assert "0.25" in variables.values()
    assert other == {**usual, "max_replicas": 1}
