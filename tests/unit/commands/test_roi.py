"""``hecaton roi``: tables, JSON, and what running meters say (ours)."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from agents.cli import app
from agents.commands import client
from agents.commands.failures import CommandFailed
from tests.unit.commands.scripted_api import AT, ScriptedApi

USAGE: dict[str, Any] = {
    "group": "sesn_1",
    "cpu_us": 6_000_000,
    "bytes_in": 1_000_000,
    "bytes_out": 2_000_000,
    "provider_micro_usd": 9,
}
TOKENS = {"input_tokens": 10, "cache_read_input_tokens": 20, "output_tokens": 5}
SESSION: dict[str, Any] = {
    "id": "sesn_1",
    "type": "session",
    "created_at": AT,
    "usage": {
        **TOKENS,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2},
        "list_cost": {"amount": "7", "currency": "USD"},
    },
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """A server with two sessions, of which one has not cost anything yet, and the books of two hands."""
    seen: list[dict[str, str]] = []
    api = ScriptedApi()

    def answer(body: Any) -> Any:
        def told(request: Any) -> Any:
            seen.append(dict(request.url.params))
            return body

        return told

    api.routes["GET", "/v1/sessions"] = answer(
        {"data": [SESSION, {**SESSION, "id": "sesn_2", "usage": {}}], "next_page": None}
    )
    api.routes["GET", "/-/usage"] = answer({"data": [USAGE, USAGE]})
    monkeypatch.setattr(client, "open_client", lambda settings, url=None: api.client())
    return seen


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["roi", *arguments], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def quick(tmp_path: Path) -> str:
    """The support scenario, with few draws."""
    from agents.economics.roi.inputs import BUILT_IN

    content = yaml.safe_load((BUILT_IN / "support.yaml").read_text())
    content["risk"]["draws"] = 100
    path = tmp_path / "quick.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_a_scenario_is_shown_with_costs_return_risk_and_sensitivity(quick: str) -> None:
    shown = " ".join(run("--scenario", quick).split())
    for part in (
        "USD per month monolith decoupled difference brain 5,000.00 640.00 -4,360.00",
        "total 6,000.00 2,000.00 -4,000.00",
        "decoupled costs 66.7% less",
        "USD per interaction 0.120000 0.040000",
        "migration 24,000.00 USD",
        "NPV over 36 months at 10.0% a year",
        "decoupled is the cheaper one from 10,000 interactions a month",
        "the same, migration spread over it from 16,667 interactions a month",
        "risk-adjusted, 100 draws mean P5 P50 P95",
        "what moves the NPV most low high",
        "NPV, USD hands x0.5 hands x1 hands x2 hands x4 brain x0.5",
    ):
        assert part in shown
    assert "other" not in shown.partition("return")[0].partition("USD per month")[2]


def test_costs_are_told_by_the_hour_and_for_the_whole_horizon() -> None:
    shown = " ".join(run("--scenario", "cluster", "--per", "hour").split())
    assert "USD per hour monolith decoupled difference brain 37.50 25.00 -12.50 hands 0.00 10.00 10.00" in shown
    assert "total 39.50 37.00 -2.50 decoupled costs 6.3% less" in shown
    assert "payback 0.0 months" in shown
    assert "risk-adjusted" not in shown
    assert "total 4,320,000.00 2,376,000.00" in " ".join(run("--scenario", "spend", "--per", "horizon").split())


def test_json_has_exact_amounts_as_strings(quick: str) -> None:
    report = json.loads(run("--scenario", quick, "--json"))
    assert report["costs"]["per"] == "month"
    assert report["costs"]["decoupled"]["usd"]["total"] == "2000.00"
    assert report["costs"]["decoupled"]["usd_per_interaction"] == "0.04"
    assert report["returns"]["flow"][:2] == [-24_000, pytest.approx(4000)]
    assert report["break_even"] == {"when": "from", "interactions_per_month": 10_000, "within_capacity": True}
    assert report["risk"]["draws"] == 100
    assert {"path", "low", "high", "npv_at_low", "npv_at_high"} == set(report["tornado"][0])
    assert [len(row) for row in report["grid"]] == [4, 4, 4, 4]
    assert report["scenario"]["name"] == "support"


def test_readings_are_shown_with_what_follows_from_the_seeds_figures() -> None:
    shown = run("--readings")
    assert "taken: It rose by 60 %" in " ".join(shown.split())
    assert "a CPU hour that would explain both months: -12 USD" in shown
    readings = json.loads(run("--readings", "--json"))["readings"]
    assert {"what": "cluster", "value": "37.00", "unit": "USD an hour"} in readings[1]["figures"]


def test_running_meters_replace_assumptions(asked: list[dict[str, str]], tmp_path: Path) -> None:
    saved = tmp_path / "metered.yaml"
    times = ("--since", "2026-11-01", "--until", "2026-11-02T12:00:00Z")
    base = tmp_path / "base.yaml"
    base.write_text("{name: base, hours_per_month: 720, interactions_per_month: 5, monolith: {}, decoupled: {}}")
    report = json.loads(
        run("--scenario", str(base), "--from-meters", *times, "--side", "monolith", "--save", str(saved), "--json")
    )
    since, until = "2026-11-01T00:00:00", "2026-11-02T12:00:00"
    assert asked[0]["created_at[gte]"].startswith(since)
    assert asked[0]["created_at[lt]"].startswith(until)
    assert asked[0]["include_archived"] == "true"
    assert asked[1]["since"].startswith(since)
    assert asked[1]["until"].startswith(until)
    scenario = report["scenario"]
    assert scenario["interactions_per_month"] == "40"  # two in a twentieth of a month
    assert scenario["tokens_per_interaction"] == "20"
    metered = {name: value for name, value in scenario["monolith"].items() if value not in ("0", None)}
    assert metered == {
        "brain_usd_per_interaction": "0.035",
        "cpu_seconds_per_interaction": "6",
        "gb_per_interaction": "0.003",
        "hand_usd_per_interaction": "0.000009",
    }
    again = json.loads(run("--scenario", str(saved), "--json"))
    assert again["scenario"] == scenario


def test_a_time_of_less_than_a_second_is_one_too(asked: list[dict[str, str]], quick: str) -> None:
    times = ("--since", "2026-11-01", "--until", "2026-11-01T00:00:00.500Z")
    report = json.loads(run("--scenario", quick, "--from-meters", *times, "--json"))
    assert report["scenario"]["interactions_per_month"] == str(2 * 720 * 7200)


def test_meters_are_of_the_last_thirty_days_unless_said(asked: list[dict[str, str]], quick: str) -> None:
    run("--scenario", quick, "--from-meters", "--json")
    begin, end = (datetime.fromisoformat(asked[1][name]) for name in ("since", "until"))
    assert end - begin == timedelta(days=30)
    assert end <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from-meters", "--since", "soon"), "--since soon: must be a day"),
        (("--from-meters", "--since", "2026-11-02", "--until", "2026-11-01"), "--since must be before --until"),
        (("--scenario", "cluster", "--save", "/nowhere/at/all.yaml"), "/nowhere/at/all.yaml can not be written"),
    ],
)
def test_what_can_not_be_done_is_said(asked: list[dict[str, str]], arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(app, ["roi", *arguments])
    assert isinstance(result.exception, CommandFailed)
    assert words in str(result.exception)


def test_times_without_meters_are_refused() -> None:
    result = CliRunner().invoke(app, ["roi", "--since", "2026-11-01"])
    assert result.exit_code == 2
    assert "--from-meters" in result.output


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("agents.commands.failures.find_spec", lambda name: None if name == "scipy" else found(name))
    result = CliRunner().invoke(app, ["roi"])
    assert isinstance(result.exception, CommandFailed)
    assert "hecaton[proof]" in str(result.exception)


def test_a_page_of_a_scenario_has_its_bills_and_pictures_and_the_answer_stays_whole(tmp_path: Path) -> None:
    page = tmp_path / "deep" / "roi.html"
    result = CliRunner().invoke(app, ["roi", "--scenario", "round", "--report", str(page), "--json"])
    assert json.loads(result.stdout)["scenario"]["name"] == "round"
    source = page.read_text(encoding="utf-8")
    assert "<h1>Scenario round</h1>" in source and "Total cost of ownership" in source
    assert 'id="tornado"' in source and 'id="scale-grid"' in source


def test_a_page_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["roi", "--report", str(tmp_path)])
    assert isinstance(result.exception, CommandFailed)
    assert f"{tmp_path} can not be written" in str(result.exception)
