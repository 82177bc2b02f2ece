"""``hecaton sessions``: what is listed, shown and ended (ours)."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from agents.commands import sessions
from agents.commands.failures import CommandFailed
from agents.commands.sessions import kill_session, list_sessions, show_session
from agents.commands.summary import money, usage_rows
from tests.unit.commands.screen import said
from tests.unit.commands.scripted_api import SESSION, ScriptedApi, idle, message

ROW = {
    "id": SESSION,
    "status": "idle",
    "title": "Measure \x1b[31mit",
    "agent": {"name": "demo"},
    "created_at": "2026-11-21T10:00:00Z",
    "usage": {"input_tokens": 1234, "output_tokens": 5, "active_seconds": 1.5, "list_cost": {"amount": "7"}},
    "stats": {"duration_seconds": 3.25},
}


@pytest.fixture
def api() -> ScriptedApi:
    return ScriptedApi()


def test_the_listing_shows_what_tells_sessions_apart(api: ScriptedApi, out: Console) -> None:
    api.routes["GET", "/v1/sessions"] = lambda request: {"data": [ROW], "next_page": None, "prev_page": None}
    list_sessions(out, api.client(), limit=20, archived=False)
    for part in (SESSION, "idle", "Measure it", "demo", "2026-11-21 10:00:00", "0.07"):
        assert part in said(out)


def test_the_listing_stops_at_its_limit(api: ScriptedApi, out: Console) -> None:
    rows = [{**ROW, "id": f"sesn_{n}"} for n in range(5)]
    api.routes["GET", "/v1/sessions"] = lambda request: {"data": rows, "next_page": "more", "prev_page": None}
    list_sessions(out, api.client(), limit=3, archived=False)
    assert "sesn_2" in said(out)
    assert "sesn_3" not in said(out)


def test_no_sessions_are_said_to_be_none(api: ScriptedApi, out: Console) -> None:
    api.routes["GET", "/v1/sessions"] = lambda request: {"data": [], "next_page": None, "prev_page": None}
    list_sessions(out, api.client(), limit=3, archived=True)
    assert "no sessions" in said(out)


def test_a_session_is_shown_with_its_history_and_use(api: ScriptedApi, out: Console) -> None:
    api.routes["GET", f"/v1/sessions/{SESSION}"] = lambda request: ROW
    api.history = [message("m1", "Hello"), idle("i1")]
    show_session(out, api.client(), SESSION)
    for part in ("brain    Hello", "idle: the turn is over", "1,234", "1.50 s of 3.25 s"):
        assert part in said(out)


class Ended:
    """A session that is running until it is interrupted."""

    def __init__(self, api: ScriptedApi, *, heeds: bool = True) -> None:
        self.calls: list[str] = []
        api.routes["GET", f"/v1/sessions/{SESSION}"] = lambda request: {
            **ROW,
            "status": "idle" if api.sent and heeds else "running",
        }
        api.routes["POST", f"/v1/sessions/{SESSION}/archive"] = lambda request: self.calls.append("archive") or ROW
        api.routes["DELETE", f"/v1/sessions/{SESSION}"] = lambda request: (
            self.calls.append("delete") or {"id": SESSION, "type": "session_deleted"}
        )


@pytest.mark.parametrize(
    ("flags", "calls"),
    [
        ({"archive": False, "delete": False}, []),
        ({"archive": True, "delete": False}, ["archive"]),
        ({"archive": True, "delete": True}, ["delete"]),
    ],
)
def test_kill_interrupts_and_then_does_what_its_flags_say(
    api: ScriptedApi, out: Console, flags: dict[str, bool], calls: list[str]
) -> None:
    ended = Ended(api)
    kill_session(out, api.client(), SESSION, **flags)
    assert api.sent == [{"type": "user.interrupt"}]
    assert ended.calls == calls


def test_kill_leaves_an_idle_session_alone(api: ScriptedApi, out: Console) -> None:
    api.routes["GET", f"/v1/sessions/{SESSION}"] = lambda request: ROW
    kill_session(out, api.client(), SESSION, archive=False, delete=False)
    assert api.sent == []
    assert "was not running" in said(out)


def test_a_session_that_goes_on_running_is_a_failure(
    api: ScriptedApi, out: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(sessions, "_LOOK_SECONDS", 0.0)
    ended = Ended(api, heeds=False)
    with pytest.raises(CommandFailed, match="still runs"):
        kill_session(out, api.client(), SESSION, archive=False, delete=True)
    assert ended.calls == []


@pytest.mark.parametrize(
    ("amount", "shown"),
    [({"amount": "2500", "currency": "USD"}, "25.00 USD"), ({"amount": "7"}, "0.07"), ({}, "unknown")],
)
def test_money_is_in_whole_cents_on_the_wire(amount: dict[str, Any], shown: str) -> None:
    assert money(amount) == shown


def test_use_that_the_server_does_not_report_counts_as_none() -> None:
    assert ("input tokens", "0") in usage_rows({})
