"""``hecaton hands release|promote|rollback|sla``: what is shown, and what is asked of the server (ours)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.commands.hand_releases import change_hand, golden_text, show_sla
from agents.errors import InvalidRequest
from tests.unit.commands.screen import rows, screen
from tests.unit.commands.scripted_api import ScriptedApi


def promise(name: str, promised: float, measured: float | None, left: float, burn: float) -> dict[str, Any]:
    calls = 0 if measured is None else 100
    return {
        "name": name,
        "promised": promised,
        "measured": measured,
        "calls": calls,
        "bad": 0,
        "budget_left": left,
        "burn": burn,
    }


KEPT = [
    promise("availability", 0.995, 0.99, -1.0, 2.0),
    promise("error_rate", 0.05, 0.01, 0.8, 0.2),
    promise("p95_seconds", 0.8, 0.4231, 1.0, 0.0),
]
UNCALLED = [promise("availability", 0.995, None, 1.0, 0.0)]
COLUMNS = ("version", "state", "weight", "calls", "reason", "objectives")
ROWS = [
    ("1.0", "current", 80, 100, None, KEPT),
    ("1.1", "trial", 20, 0, None, UNCALLED),
    ("1.2", "withdrawn", 0, 7, "too slow", None),
]
HAND: dict[str, Any] = {
    "name": "crm",
    "current": "1.0",
    "previous": None,
    "versions": [{"id": f"crm@{row[0]}", **dict(zip(COLUMNS, row, strict=True))} for row in ROWS],
    "checks": {"notes": ["price.per_call: was 0 and is 1"], "breaking": [], "golden_calls": 2},
}


class Api(ScriptedApi):
    """A server with one hand, which takes every change and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Any]] = []
        self.routes["GET", "/-/hands"] = lambda request: {"data": [{"name": "crm"}, {"name": "crm"}]}
        self.routes["GET", "/-/hands/crm/sla"] = lambda request: HAND
        for action in ("release", "rollback"):
            self.routes["POST", f"/-/hands/crm/{action}"] = self._changed

    def _changed(self, request: Any) -> Any:
        self.asked.append((request.url.path, json.loads(request.content)))
        return HAND


@pytest.fixture
def out() -> Console:
    return screen(80)


def test_the_report_shows_promised_measured_and_what_is_left(out: Console) -> None:
    show_sla(out, Api().client(), None, as_json=False)
    assert rows(out)[1:] == [
        "crm@1.0 current 80 % 100 answered 99.5 % 99 % -100% 2.00x",
        "errors ≤ 5 % 1 % 80% 0.20x",
        "p95 ≤ 0.8 s 0.423 s 100% 0.00x",
        "crm@1.1 trial 20 % 0 answered 99.5 % no calls",
        "crm@1.2 withdrawn 0 % 7 no contract",
        "crm@1.2 was withdrawn: too slow",
    ]


def test_json_is_what_the_server_answers(out: Console) -> None:
    show_sla(out, Api().client(), "crm", as_json=True)
    assert json.loads("\n".join(rows(out))) == HAND
    every = screen(160)
    show_sla(every, Api().client(), None, as_json=True)
    assert json.loads("\n".join(rows(every))) == {"data": [HAND]}


def test_what_was_checked_is_told_and_what_is_not_given_is_not_sent(out: Console, tmp_path: Path) -> None:
    api = Api()
    golden = tmp_path / "golden.jsonl"
    golden.write_text('{"tool": "find", "expect": {}}\n')
    body = {"version": "1.1", "weight": 20, "golden": golden_text(golden), "force": None}
    change_hand(out, api.client(), "crm", "release", body, as_json=False)
    assert api.asked == [("/-/hands/crm/release", {"version": "1.1", "weight": 20, "golden": golden.read_text()})]
    assert rows(out)[:2] == ["note: price.per_call: was 0 and is 1", "2 golden calls went as expected"]
    assert golden_text(None) is None


def test_a_file_that_holds_no_golden_calls_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    golden.write_text("{}")
    with pytest.raises(InvalidRequest, match=r"golden\.jsonl, line 1: tool"):
        golden_text(golden)
