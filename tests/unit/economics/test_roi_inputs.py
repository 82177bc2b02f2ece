"""Scenario files: what they may say, and what is said of one that is no good (ours)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.commands.roi_app import roi
from agents.economics.roi.inputs import Scenario, built_in_scenarios, read_scenario, scenario_text
from agents.economics.roi.metered import MeteredUse, with_meters
from agents.economics.roi.paths import numbers_of, with_numbers
from agents.errors import InvalidRequest

LEAST: dict[str, Any] = {"name": "least", "interactions_per_month": 10, "monolith": {}, "decoupled": {}}
USED = MeteredUse(
    hours=D(73),
    sessions=8,
    tokens=12_000,
    list_cents=10,
    cpu_us=4_000_000,
    moved_bytes=2_000_000,
    provider_micro_usd=40_000,
)


def told(path: Path, content: object) -> str:
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InvalidRequest) as raised:
        read_scenario(str(path))
    return raised.value.message


def test_the_command_names_every_scenario_that_ships() -> None:
    assert built_in_scenarios() == ["cluster", "round", "spend", "support"]
    [option] = [each for each in roi.__annotations__.items() if each[0] == "scenario"]
    assert all(name in str(option) for name in built_in_scenarios())


def test_the_price_list_begins_with_the_seeds_prices() -> None:
    prices = Scenario.model_validate(LEAST).prices
    assert (prices.gpu_usd_per_hour, prices.cpu_usd_per_hour) == (D("2.50"), D("0.05"))
    hidden = Scenario.model_validate(LEAST).hidden
    assert (hidden.observability, hidden.training) == (D("0.05"), D("0.03"))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"gpu": 3}, "gpu: Extra inputs"),
        ({"prices": {"gpu_usd_per_hour": -1}}, "prices.gpu_usd_per_hour: "),
        ({"interactions_per_month": 0}, "interactions_per_month: "),
        ({"monolith": {"hand_interactions_per_hour": 5}}, "hands must be above 0"),
        ({"monolith": {"brain_interactions_per_hour": 5}}, "benefit_usd_per_interaction must be above 0"),
        ({"risk": {"factors": {"decoupled.gpu": {"kind": "uniform", "low": 1, "high": 2}}}}, "'decoupled.gpu' is no"),
        ({"risk": {"factors": {"migration_usd": {"kind": "uniform", "low": 2, "high": 1}}}}, "low must be less"),
        ({"risk": {"factors": {"migration_usd": {"kind": "triangular", "low": 2, "high": 3}}}}, "low <= mode <= high"),
        ({"risk": {"factors": {"migration_usd": {"kind": "normal"}}}}, "risk.factors.migration_usd: "),
    ],
)
def test_a_bad_scenario_names_the_field(tmp_path: Path, change: dict[str, Any], names: str) -> None:
    path = tmp_path / "scenario.yaml"
    message = told(path, LEAST | change)
    assert message.startswith(f"{path}: ")
    assert names in message


def test_what_is_no_scenario_is_said(tmp_path: Path) -> None:
    assert "must be a mapping" in told(tmp_path / "list.yaml", [1])
    (tmp_path / "broken.yaml").write_text("a: [")
    for name, words in (("broken.yaml", "can not be read"), ("absent.yaml", "cluster, round, spend, support")):
        with pytest.raises(InvalidRequest, match=words):
            read_scenario(str(tmp_path / name))


@pytest.mark.parametrize("name", ["cluster", "round", "spend", "support"])
def test_a_scenario_that_was_written_is_read_to_the_same(tmp_path: Path, name: str) -> None:
    scenario = read_scenario(name)
    path = tmp_path / "written.yaml"
    path.write_text(scenario_text(scenario))
    assert read_scenario(str(path)) == scenario


def test_numbers_have_paths_by_which_they_are_changed() -> None:
    scenario = Scenario.model_validate(LEAST | {"monolith": {"gpus": 2}})
    numbers = numbers_of(scenario)
    assert (numbers["monolith.gpus"], numbers["interactions_per_month"], numbers["hidden.training"]) == (
        2,
        10,
        D("0.03"),
    )
    assert not any(path.startswith(("risk", "sensitivity", "decoupled.brain_interactions")) for path in numbers)
    changed = with_numbers(scenario, {"monolith.gpus": D(3), "interactions_per_month": D(11)})
    assert (changed.monolith.gpus, changed.interactions_per_month) == (3, 11)
    assert (scenario.monolith.gpus, scenario.interactions_per_month) == (2, 10)


def test_meters_say_what_an_interaction_takes() -> None:
    metered = with_meters(Scenario.model_validate(LEAST), USED, "decoupled")
    assert metered.interactions_per_month == 80  # 8 in a tenth of 730 hours
    assert metered.tokens_per_interaction == 1500
    assert metered.monolith == Scenario.model_validate(LEAST).monolith
    assert metered.decoupled.model_dump(exclude_defaults=True) == {
        "brain_usd_per_interaction": D("0.0125"),
        "cpu_seconds_per_interaction": D("0.5"),
        "gb_per_interaction": D("0.00025"),
        "hand_usd_per_interaction": D("0.005"),
    }
    assert metered.source == "Meters of the decoupled: 8 sessions in 73.0 hours."


@pytest.mark.parametrize("brain", [{"gpus": 1}, {"brain_usd_per_month": 1}, {"gpu_seconds_per_interaction": 1}])
def test_what_the_scenario_has_as_fixed_is_not_charged_by_the_interaction_too(brain: dict[str, int]) -> None:
    scenario = Scenario.model_validate(LEAST | {"monolith": {"hands": 2, **brain}})
    metered = with_meters(scenario, USED, "monolith").monolith
    assert (metered.brain_usd_per_interaction, metered.cpu_seconds_per_interaction) == (0, 0)
    assert (metered.hands, metered.hand_usd_per_interaction) == (2, D("0.005"))


def test_meters_that_lack_what_the_scenario_draws_by_lot_are_refused_in_words() -> None:
    factors = {"tokens_per_interaction": {"kind": "uniform", "low": 1, "high": 2}}
    scenario = Scenario.model_validate(LEAST | {"tokens_per_interaction": 5, "risk": {"factors": factors}})
    with pytest.raises(InvalidRequest, match=r"least with meters: .*'tokens_per_interaction' is no number"):
        with_meters(scenario, replace(USED, tokens=0), "decoupled")


def test_meters_without_a_session_say_nothing() -> None:
    nothing = MeteredUse(D(1), 0, 0, 0, 0, 0, 0)
    with pytest.raises(InvalidRequest, match="--since"):
        with_meters(Scenario.model_validate(LEAST), nothing, "decoupled")
