"""``hecaton brains``: what is listed, and what is asked of the server (ours)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agents.cli import app
from agents.commands import client
from agents.commands.brains import change_brain, list_brains
from tests.unit.commands.screen import rows, said
from tests.unit.commands.scripted_api import ScriptedApi

BRAIN: dict[str, Any] = {
    "name": "qwen",
    "aliases": [],
    "current": "1",
    "previous": None,
    "versions": [
        {"id": "qwen@1", "state": "current", "weight": 90, "engine": "server", "model": "org/a", "reason": None},
        {"id": "qwen@2", "state": "trial", "weight": 10, "engine": "server", "model": "org/\x1b[31mb", "reason": None},
        {"id": "qwen@3", "state": "withdrawn", "weight": 0, "engine": "claude", "model": None, "reason": "too slow"},
    ],
}
for each, counted in zip(BRAIN["versions"], [(None, None, None), (40, 2, 1), (None, None, None)], strict=True):
    each.update(zip(("requests", "failed", "slow"), counted, strict=True))


class Api(ScriptedApi):
    """A server with one brain, which takes every change and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Any]] = []
        self.routes["GET", "/-/brains"] = lambda request: {"data": [BRAIN]}
        for action in ("release", "promote", "rollback"):
            self.routes["POST", f"/-/brains/qwen/{action}"] = self._changed

    def _changed(self, request: Any) -> Any:
        self.asked.append((request.url.path, json.loads(request.content)))
        return BRAIN


@pytest.fixture
def api() -> Api:
    return Api()


def test_the_listing_shows_who_gets_the_sessions_and_why_others_do_not(api: Api, out: Console) -> None:
    list_brains(out, api.client(), as_json=False)
    lines = rows(out)
    assert lines[1:] == [
        "qwen@1 current 90 % server org/a",
        "qwen@2 trial 10 % server org/b 40 requests, 2 failed, 1 slow",
        "qwen@3 withdrawn 0 % claude too slow",
    ]


def test_json_is_what_the_server_answers(api: Api, out: Console) -> None:
    list_brains(out, api.client(), as_json=True)
    assert json.loads(said(out)) == {"data": [BRAIN]}


def test_what_is_not_given_is_not_sent(api: Api, out: Console) -> None:
    change_brain(out, api.client(), "qwen", "rollback", {"version": None, "reason": "rude"}, as_json=False)
    assert api.asked == [("/-/brains/qwen/rollback", {"reason": "rude"})]
    assert "qwen@2" in said(out)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["release", "qwen", "2", "--weight", "10"], ("release", {"version": "2", "weight": 10})),
        (["promote", "qwen", "2"], ("promote", {"version": "2"})),
        (["rollback", "qwen"], ("rollback", {})),
        (["rollback", "qwen", "2", "--reason", "rude"], ("rollback", {"version": "2", "reason": "rude"})),
    ],
)
def test_each_command_asks_for_its_change(
    api: Api, monkeypatch: pytest.MonkeyPatch, arguments: list[str], asked: tuple[str, Any]
) -> None:
    monkeypatch.setattr(client, "open_client", lambda settings, url: api.client())
    result = CliRunner().invoke(app, ["brains", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    action, body = asked
    assert api.asked == [(f"/-/brains/qwen/{action}", body)]
    assert json.loads(result.output) == BRAIN


@pytest.mark.parametrize("weight", [[], ["--weight", "101"], ["--weight", "some"]])
def test_a_release_says_how_many_percent(weight: list[str]) -> None:
    assert CliRunner().invoke(app, ["brains", "release", "qwen", "2", *weight]).exit_code == 2
