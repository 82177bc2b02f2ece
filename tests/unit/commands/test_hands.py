"""``hecaton hands``: what is sent to the server, and what is shown of its answers (ours)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.commands import hands
from agents.commands.failures import CommandFailed
from agents.commands.hands import add_hand, assignments, list_hands, remove_hand
from agents.hands.deployed.source import unpacked
from tests.unit.commands.screen import rows
from tests.unit.commands.scripted_api import ScriptedApi

HAND: dict[str, Any] = {
    "id": "crm@1.4",
    "state": "DEPLOYING",
    "replicas": 0,
    "message": "",
    "description": "Customers",
    "definition": {"min_replicas": 0, "max_replicas": 4},
    "tools": None,
}
TOOLS = [{"name": "find", "description": "Find a \x1b[31mcustomer."}]


class Api(ScriptedApi):
    """A server that takes a hand, and says more of it each time it is asked."""

    def __init__(self, *states: dict[str, Any]) -> None:
        super().__init__()
        self.asked: list[Any] = []
        self._states = [{**HAND, **state} for state in states]
        self.routes["POST", "/-/hands"] = self._added
        self.routes["GET", "/-/hands/crm@1.4"] = lambda _: self._states.pop(0)
        self.routes["GET", "/-/hands"] = lambda _: {"data": [{**HAND, "state": "RUNNING", "replicas": 2}]}
        self.routes["DELETE", "/-/hands/crm"] = lambda _: {"type": "hand_deleted", "id": "crm@1.4"}

    def _added(self, request: Any) -> Any:
        self.asked.append(json.loads(request.content))
        return HAND


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "_LOOK_SECONDS", 0.0)


def add(api: Api, out: Console, tmp_path: Path, **given: Any) -> None:
    (tmp_path / "crm.py").write_text("server = None")
    (tmp_path / "contract.yaml").write_text("hand: crm")
    declared = {
        "server": f"{tmp_path}/crm.py:server",
        "version": "1.4",
        "contract": tmp_path / "contract.yaml",
        **given,
    }
    add_hand(out, api.client(), "crm", declared, wait=30, as_json=False)


def test_a_hands_code_and_contract_are_sent_and_its_tools_waited_for(out: Console, tmp_path: Path) -> None:
    api = Api({}, {"state": "RUNNING", "replicas": 1, "tools": TOOLS})
    add(api, out, tmp_path, max_replicas=4, queue=None)
    [sent] = api.asked
    assert unpacked(base64.b64decode(sent.pop("source"))) == {"crm.py": b"server = None"}
    definition = {"server": "crm:server", "version": "1.4"}
    assert sent == {"name": "crm", "definition": definition, "contract": "hand: crm"}
    assert rows(out)[1:] == ["crm@1.4 RUNNING 1 of 0-4 1 Customers", "find Find a customer."]


def test_a_hand_that_does_not_start_fails_the_command_with_the_reason(out: Console, tmp_path: Path) -> None:
    api = Api({"state": "DEPLOY_FAILED", "message": "No module named 'crm'"})
    with pytest.raises(CommandFailed, match=r"crm@1\.4 does not start: No module named 'crm'"):
        add(api, out, tmp_path)


def test_what_is_declared_wrong_is_named_before_anything_is_sent(out: Console, tmp_path: Path) -> None:
    api = Api()
    with pytest.raises(CommandFailed, match="concurrency: Input should be greater than or equal to 1"):
        add(api, out, tmp_path, concurrency=0)
    with pytest.raises(CommandFailed, match="--env NAME: expected NAME=VALUE"):
        assignments("--env", ["A=1=2", "NAME"])
    assert assignments("--env", ["A=1=2"]) == {"A": "1=2"}
    assert api.asked == []


def test_hands_are_listed_and_removed(out: Console) -> None:
    api = Api()
    list_hands(out, api.client(), as_json=False)
    remove_hand(out, api.client(), "crm", force=False, as_json=False)
    assert rows(out)[1:] == ["crm@1.4 RUNNING 2 of 0-4 ? Customers", "removed crm@1.4"]
