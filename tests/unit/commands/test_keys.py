"""``hecaton keys`` (ours)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from agents.commands.failures import CommandFailed
from agents.commands.keys import create_key, expiry_of, list_keys, revoke_key
from tests.unit.commands.screen import said, screen
from tests.unit.commands.scripted_api import AT, ScriptedApi

NOW = datetime(2026, 11, 22, tzinfo=UTC)
KEY = "sk-hecaton-1-secret"
ROW: dict[str, Any] = {
    "id": "apikey_1",
    "type": "api_key",
    "name": "CI \x1b[31m",
    "workspace_id": "team-a",
    "scope": "developer",
    "status": "active",
    "created_at": AT,
    "expires_at": None,
    "last_used_at": None,
    "revoked_at": None,
}


def test_a_key_is_printed_once_alone_on_its_line() -> None:
    api, out, sent = ScriptedApi(), screen(), list[Any]()

    def answer(request: httpx2.Request) -> dict[str, Any]:
        sent.append(json.loads(request.content))
        return {**ROW, "key": KEY}

    api.routes["POST", "/-/keys"] = answer
    create_key(out, api.client(), "CI", "developer", "team-a", None, as_json=False)
    assert said(out).splitlines()[0].strip() == KEY
    assert sent == [{"name": "CI", "scope": "developer", "workspace_id": "team-a", "expires_at": None}]


def test_keys_are_listed_page_by_page_and_revoked_ones_told() -> None:
    api, out = ScriptedApi(), screen()

    def answer(request: httpx2.Request) -> dict[str, Any]:
        if "page" in request.url.params:
            return {"data": [{**ROW, "id": "apikey_2", "status": "archived", "revoked_at": AT}], "next_page": None}
        return {"data": [ROW], "next_page": "more"}

    api.routes["GET", "/-/keys"] = answer
    list_keys(out, api.client(), None, every=True, as_json=False)
    _, one, two = said(out).splitlines()
    assert "apikey_1" in one and "active" in one and "\x1b" not in one
    assert "apikey_2" in two and "revoked" in two


def test_a_key_is_revoked_by_its_id() -> None:
    api, out = ScriptedApi(), screen()
    api.routes["DELETE", "/-/keys/apikey_1"] = lambda request: {**ROW, "status": "archived", "revoked_at": AT}
    revoke_key(out, api.client(), "apikey_1", as_json=False)
    assert "apikey_1" in said(out) and "revoked" in said(out)


@pytest.mark.parametrize(
    ("text", "moment"),
    [("90d", "2027-02-20T00:00:00"), ("12h", "2026-11-22T12:00:00"), ("2027-01-01", "2027-01-01T00:00:00")],
)
def test_an_expiry_is_a_span_a_day_or_a_time(text: str, moment: str) -> None:
    assert expiry_of(text, NOW).startswith(moment)


@pytest.mark.parametrize("text", ["", "soon", "0d", "-1d", "90"])
def test_any_other_expiry_is_refused(text: str) -> None:
    with pytest.raises(CommandFailed, match="--expires"):
        expiry_of(text, NOW)
