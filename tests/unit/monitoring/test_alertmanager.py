"""Alertmanager takes our configuration: each alert goes to whom its severity says, but not beside its cause."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.monitoring.alertmanager import PATIENCE_SECONDS, Alertmanager, alertmanager
from tests.unit.monitoring.promql import HOME, rules

CONFIG = HOME / "alertmanager.yml"
ALERTS = {rule["alert"]: rule["labels"]["severity"] for rule in rules() if "alert" in rule}
RECEIVERS = {"critical": "pager", "warning": "tickets", "info": "nobody"}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Alertmanager]:
    with alertmanager(CONFIG, tmp_path) as made:
        yield made


def labels(alert: str, **more: str) -> dict[str, str]:
    return {"alertname": alert, "severity": ALERTS[alert], **more}


def test_the_configuration_is_well_formed() -> None:
    done = subprocess.run(["amtool", "check-config", CONFIG], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_goes_to_whom_its_severity_says(running: Alertmanager) -> None:
    running.fire(*map(labels, ALERTS), {"alertname": "OfSomebodyElse"})
    assert running.receivers() == {
        **{alert: [RECEIVERS[severity]] for alert, severity in ALERTS.items()},
        "OfSomebodyElse": ["tickets"],
    }


def test_pages_and_tickets_are_posted_with_their_tokens_and_what_is_to_know_is_not(running: Alertmanager) -> None:
    running.fire(labels("HecatonAnomaly"), labels("HecatonLoops"), labels("HecatonLogLags"))
    told = [running.told.get(timeout=PATIENCE_SECONDS) for _ in range(2)]
    assert {each.receiver: each.authorization for each in told} == {
        "pager": "Bearer token of pager",
        "tickets": "Bearer token of tickets",
    }
    names = {each.receiver: [alert["labels"]["alertname"] for alert in each.body["alerts"]] for each in told}
    assert names == {"pager": ["HecatonLogLags"], "tickets": ["HecatonLoops"]}
    assert running.receivers()["HecatonAnomaly"] == ["nobody"] and running.told.empty()


CASES: list[tuple[dict[str, str], list[dict[str, str]], list[dict[str, str]]]] = [
    (
        labels("HecatonAbsent"),
        [labels("HecatonServerErrors"), labels("HecatonStuckSessions")],
        [{"alertname": "OfSomebodyElse"}],
    ),
    (
        labels("HecatonNoHarness"),
        [labels("HecatonErrorBudgetBurnsFast", slo="api"), labels("HecatonServerErrors")],
        [labels("HecatonLogLags")],
    ),
    (
        labels("HecatonErrorBudgetBurnsFast", slo="api"),
        [labels("HecatonErrorBudgetBurnsSlowly", slo="api")],
        [labels("HecatonErrorBudgetBurnsSlowly", slo="tool_calls", hand="crm")],
    ),
    (
        labels("HecatonLogLags"),
        [labels("HecatonLogSlow"), labels("HecatonRouteLatencySpike", route="/v1/sessions")],
        [labels("HecatonBrainLatencySpike", brain="a")],
    ),
    (
        labels("HecatonBrainQueue", brain="a"),
        [labels("HecatonBrainLatencySpike", brain="a")],
        [labels("HecatonBrainLatencySpike", brain="b")],
    ),
    (
        labels("HecatonHandQueue", hand="a"),
        [labels("HecatonHandLatencySpike", hand="a")],
        [labels("HecatonHandLatencySpike", hand="b")],
    ),
]


@pytest.mark.parametrize(("cause", "follows", "others"), CASES, ids=[cause["alertname"] for cause, _, _ in CASES])
def test_who_is_told_of_a_cause_is_not_told_of_what_follows(
    running: Alertmanager, cause: dict[str, str], follows: list[dict[str, str]], others: list[dict[str, str]]
) -> None:
    running.fire(cause, *follows, *others)
    assert sorted(running.held_back(len(follows)), key=lambda each: each["alertname"]) == follows


def test_only_alerts_that_there_are_are_named() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    named = set(re.findall(r"Hecaton\w+", str(config["inhibit_rules"])))
    assert named <= ALERTS.keys()
