"""``hecaton webhooks`` (ours)."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from agents.commands import webhooks_app
from agents.commands.webhooks import add_webhook, enable_webhook, list_webhooks, remove_webhook
from tests.unit.commands.screen import said, screen
from tests.unit.commands.scripted_api import AT, ScriptedApi

URL = "https://hooks.example.com/x"
ROW: dict[str, Any] = {
    "id": "whk_1",
    "type": "webhook_endpoint",
    "workspace_id": "default",
    "url": URL,
    "events": ["*"],
    "status": "enabled",
    "disabled_at": None,
    "disabled_reason": None,
    "created_at": AT,
}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([], {"url": URL, "workspace_id": "default"}),
        (
            ["--events", "agent.created,agent.updated", "--events", "vault.created", "--workspace", "team-a"],
            {"url": URL, "workspace_id": "team-a", "events": ["agent.created", "agent.updated", "vault.created"]},
        ),
    ],
)
def test_an_endpoint_is_added_and_printed_as_json(
    given: list[str], sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, bodies = ScriptedApi(), list[Any]()

    def answer(request: httpx2.Request) -> dict[str, Any]:
        bodies.append(json.loads(request.content))
        return {**ROW, "secret": "whsec_x"}

    api.routes["POST", "/-/webhooks"] = answer
    monkeypatch.setattr(webhooks_app, "client_from", lambda *_: api.client())
    monkeypatch.setattr(webhooks_app, "console", out := screen())
    result = CliRunner().invoke(webhooks_app.webhooks_app, ["add", URL, *given])
    assert result.exit_code == 0, result.output
    assert bodies == [sent]
    shown = json.loads(said(out))
    assert (shown["id"], shown["secret"]) == ("whk_1", "whsec_x")


def test_without_names_none_are_sent() -> None:
    api, bodies = ScriptedApi(), list[Any]()

    def answer(request: httpx2.Request) -> dict[str, Any]:
        bodies.append(json.loads(request.content))
        return ROW

    api.routes["POST", "/-/webhooks"] = answer
    add_webhook(screen(), api.client(), URL, None, "default")
    assert bodies == [{"url": URL, "workspace_id": "default"}]


def test_endpoints_are_listed_page_by_page_and_disabled_ones_say_why() -> None:
    api, out = ScriptedApi(), screen(200)

    def answer(request: httpx2.Request) -> dict[str, Any]:
        assert request.url.params["workspace_id"] == "default"
        if "page" in request.url.params:
            gone = {**ROW, "id": "whk_2", "status": "disabled", "disabled_reason": "status 301 \x1b[31m"}
            return {"data": [gone], "next_page": None}
        return {"data": [ROW], "next_page": "more"}

    api.routes["GET", "/-/webhooks"] = answer
    list_webhooks(out, api.client(), "default", as_json=False)
    _, one, two = said(out).splitlines()
    assert "whk_1" in one and URL in one and "enabled" in one
    assert "whk_2" in two and "disabled (status 301" in two and "\x1b" not in two


def test_an_endpoint_is_enabled_and_removed() -> None:
    api, out = ScriptedApi(), screen()
    api.routes["POST", "/-/webhooks/whk_1/enable"] = lambda _: ROW
    api.routes["DELETE", "/-/webhooks/whk_1"] = lambda _: {"id": "whk_1", "type": "webhook_endpoint_deleted"}
    enable_webhook(out, api.client(), "whk_1", as_json=False)
    remove_webhook(out, api.client(), "whk_1", as_json=False)
    assert said(out).splitlines() == ["whk_1 is enabled", "whk_1 is removed"]
