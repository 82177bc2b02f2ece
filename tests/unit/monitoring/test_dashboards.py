"""The dashboards: what is committed is what the code makes, and every panel can be told apart and seen."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cluster.monitoring.building.__main__ import files
from tests.unit.monitoring.promql import DASHBOARDS, dashboard, expressions, panels


def test_the_committed_files_are_what_the_code_makes() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python -m cluster.monitoring.building"


def test_there_is_one_for_each_side_of_the_platform() -> None:
    assert [path.stem for path in DASHBOARDS] == ["brains", "cost", "hands", "overview", "sla"]
    assert len({dashboard(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_asks_the_chosen_prometheus_and_lies_alone(path: Path) -> None:
    page = dashboard(path)
    shown = list(panels(page))
    assert len({panel["title"] for panel in shown}) == len(shown)
    assert {panel["datasource"]["uid"] for panel in shown} == {"${datasource}"}
    assert all(target["refId"] for panel in shown for target in panel["targets"])
    for one, other in combinations(page["panels"], 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in page["panels"])


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_choice_is_used_by_what_it_is_offered_beside(path: Path) -> None:
    page = dashboard(path)
    names = [each["name"] for each in page["templating"]["list"] if each["type"] == "query"]
    assert all(any(f"${name}" in expression for expression in expressions(page)) for name in names)


def overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or above)
