"""``hecaton topology`` and what the doctor says of a standby (ours)."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from rich.console import Console
from typer.testing import CliRunner

from agents.cli import app
from agents.commands import client, standby_check
from agents.commands.platform import PlatformRecord
from agents.commands.standby_check import check_standby, standby_checks
from agents.commands.topology import force_topology, show_taker, show_topology
from agents.config import Settings
from agents.settings_sections import StandbySettings
from tests.unit.commands.screen import rows
from tests.unit.commands.scripted_api import ScriptedApi

REPORT: dict[str, Any] = {
    "mode": "trial",
    "forced": False,
    "reason": "the parts are tried again",
    "since": 0.0 + 86_400,
    "monolith_share": 0.8,
    "switches": 1,
    "requests": 20,
    "lost": 3,
    "outage": None,
    "replicas": ["monolith-m-0"],
}
FORCED = {**REPORT, "mode": "monolith", "forced": True, "since": None, "replicas": [], "outage": "no\x1b[31m host"}
SETTINGS = Settings(standby=StandbySettings(enabled=True))


class Api(ScriptedApi):
    """A server with a standby, which takes every command and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []
        self.routes["GET", "/-/topology"] = lambda request: REPORT
        self.routes["POST", "/-/topology"] = self._forced
        self.routes["GET", "/-/topology/sessions/sesn_1"] = lambda request: {"topology": "monolith"}
        self.routes["GET", "/-/topology/sessions/sesn_2"] = lambda request: {"topology": None}

    def _forced(self, request: Any) -> Any:
        self.asked.append(json.loads(request.content))
        return FORCED


def test_where_new_sessions_go_and_why_is_shown(out: Console) -> None:
    show_topology(out, Api().client(), as_json=False)
    assert rows(out) == [
        "new sessions trial",
        "to the monolith 80%",
        "since 1970-01-02 00:00:00 UTC",
        "why the parts are tried again",
        "parts 3 of 20 requests lost",
        "away",
        "monolith monolith-m-0",
    ]


def test_what_is_forced_is_asked_of_the_server_and_shown(out: Console) -> None:
    api = Api()
    force_topology(out, api.client(), "monolith", as_json=False)
    assert api.asked == [{"mode": "monolith"}]
    lines = rows(out)
    assert (lines[0], lines[2], lines[6]) == (
        "new sessions monolith, by command",
        "since the start",
        "monolith no replica is there",
    )
    assert "\x1b" not in "".join(lines)


def test_who_took_a_session_is_shown(out: Console) -> None:
    show_taker(out, Api().client(), "sesn_1", as_json=False)
    show_taker(out, Api().client(), "sesn_2", as_json=False)
    assert rows(out) == ["monolith", "made without a standby"]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [([], REPORT), (["auto"], FORCED), (["--session", "sesn_1"], {"topology": "monolith"})],
)
def test_the_command_line_asks_for_the_same(
    arguments: list[str], answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "open_client", lambda settings, url: Api().client())
    done = CliRunner().invoke(app, ["topology", *arguments, "--json", "--url", "http://x"])
    assert json.loads(done.output) == answer


def test_either_a_mode_or_a_session_is_asked_for() -> None:
    assert CliRunner().invoke(app, ["topology", "auto", "--session", "sesn_1"]).exit_code == 2


@pytest.mark.parametrize(
    ("told", "state", "words"),
    [
        ({**REPORT, "mode": "decoupled"}, "ok", "monolith-m-0"),
        (REPORT, "note", "the parts are tried again"),
        (FORCED, "problem", "no replica"),
        (None, "note", "does not tell"),
    ],
)
def test_the_doctor_says_whether_the_standby_is_there_and_needed(
    told: dict[str, Any] | None, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby_check, "find_platform", lambda settings: PlatformRecord(1, "http://x"))
    monkeypatch.setattr(standby_check, "readiness", lambda record: {} if told is None else {"standby": told})
    found = check_standby(SETTINGS)
    assert found.state == state and words in found.found


def test_the_doctor_has_nothing_to_say_of_what_is_not_up_and_notes_what_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standby_check, "find_platform", lambda settings: None)
    assert [check().state for check in standby_checks(SETTINGS)] == ["ok"]
    assert standby_checks(Settings()) == []

    def silent(record: PlatformRecord) -> dict[str, Any]:
        raise httpx2.ConnectError("no")

    monkeypatch.setattr(standby_check, "find_platform", lambda settings: PlatformRecord(1, "http://x"))
    monkeypatch.setattr(standby_check, "readiness", silent)
    assert check_standby(SETTINGS).state == "note"
