"""The recording and alert rules: they are right by promtool, fire when they should and not when they should not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.monitoring.promql import DASHBOARDS, HOME, RULE_FILES, dashboard, expressions, rules

CASES = sorted((Path(__file__).parent / "promtool").glob("*.yaml"))
DOC = HOME.parents[1] / "docs" / "monitoring.md"


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", "--lint-fatal", *RULE_FILES)


def test_the_configuration_finds_the_rules() -> None:
    promtool("check", "config", "--lint-fatal", HOME / "prometheus.yml")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_rules_record_and_fire_as_they_should(case: Path) -> None:
    promtool("test", "rules", case)


def test_every_file_of_rules_has_its_cases() -> None:
    assert [case.name for case in CASES] == [path.name for path in RULE_FILES]


def test_every_alert_is_seen_to_fire_and_seen_not_to() -> None:
    fired: set[str] = set()
    unfired: set[str] = set()
    for case in CASES:
        for scene in yaml.safe_load(case.read_text(encoding="utf-8"))["tests"]:
            for expected in scene.get("alert_rule_test", []):
                (fired if expected.get("exp_alerts") else unfired).add(expected["alertname"])
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert fired == alerts
    assert unfired == alerts


def test_every_alert_says_what_to_do() -> None:
    sections = set(re.findall(r"^### (Hecaton\w+)$", DOC.read_text(encoding="utf-8"), re.MULTILINE))
    alerts = [rule for rule in rules() if "alert" in rule]
    assert sections == {rule["alert"] for rule in alerts}
    for rule in alerts:
        assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_the_dashboards_expressions_are_well_formed(tmp_path: Path) -> None:
    """Each as a rule of its own, for promtool has no other way to look at an expression."""
    asked = [
        re.sub(r"\$\w+", "x", text)
        for path in DASHBOARDS
        for text in expressions(dashboard(path))
        if not text.startswith("label_values(")
    ]
    made = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(asked)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    promtool("check", "rules", tmp_path / "panels.yaml")
