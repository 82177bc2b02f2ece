"""What commands make through the SDK: found again when it is there, brought up to date, never doubled (ours)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic

from agents.commands.client import connect, ensure_agent, ensure_environment, require_server, server_url, toolset
from agents.commands.failures import CommandFailed
from agents.config import Settings
from tests.unit.commands.scripted_api import ScriptedApi

SPEC = {"name": "a", "model": "claude-x", "tools": toolset(edit="always_ask")}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def page(*rows: dict[str, Any]) -> Any:
    return lambda request: {"data": list(rows), "next_page": None}


def test_the_server_is_the_one_named_or_that_of_the_settings(settings: Settings) -> None:
    assert server_url(settings, "http://other:1") == "http://other:1"
    assert server_url(settings, None) == "http://127.0.0.1:8123"


def test_the_client_carries_the_servers_key_and_not_the_brains(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "the brain's")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://brain")
    client = connect(settings, "http://h:1")
    assert (client.api_key, str(client.base_url).rstrip("/")) == ("hecaton", "http://h:1")
    guarded = Settings(data_dir=settings.data_dir, api_key="k")  # type: ignore[arg-type]
    assert connect(guarded, "http://h:1").api_key == "k"


def test_an_absent_server_is_a_failure_that_says_what_to_do() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    client = Anthropic(
        base_url="http://h:1", api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(refuse))
    )
    with pytest.raises(CommandFailed, match="hecaton up"):
        require_server(client)


def test_a_missing_agent_is_made() -> None:
    api = ScriptedApi()
    made: list[Any] = []
    api.routes["GET", "/v1/agents"] = page({"id": "agent_0", "name": "other"})
    api.routes["POST", "/v1/agents"] = lambda request: made.append(json.loads(request.content)) or {"id": "agent_1"}
    assert ensure_agent(api.client(), SPEC) == "agent_1"
    assert made == [SPEC]


def test_an_agent_that_is_there_is_brought_up_to_date() -> None:
    api = ScriptedApi()
    sent: list[Any] = []
    api.routes["GET", "/v1/agents"] = page({"id": "agent_1", "name": "a"})
    api.routes["POST", "/v1/agents/agent_1"] = lambda request: (
        sent.append(json.loads(request.content)) or {"id": "agent_1"}
    )
    assert ensure_agent(api.client(), SPEC) == "agent_1"
    assert sent == [SPEC]


def test_an_environment_is_found_by_its_name_or_made() -> None:
    api = ScriptedApi()
    api.routes["GET", "/v1/environments"] = page({"id": "env_1", "name": "here"})
    api.routes["POST", "/v1/environments"] = lambda request: {"id": "env_2", **json.loads(request.content)}
    assert ensure_environment(api.client(), "here") == "env_1"
    assert ensure_environment(api.client(), "new") == "env_2"


def test_the_toolset_gives_single_tools_their_policy() -> None:
    assert toolset(edit="always_ask")[0]["configs"] == [
        {"name": "edit", "permission_policy": {"type": "always_ask"}},
    ]
