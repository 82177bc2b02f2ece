"""``run`` and ``chat``: whom they make, what they let through, and how they end (ours)."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from agents.commands import talk
from agents.commands.conversation import Outcome
from agents.commands.failures import CommandFailed
from agents.commands.talk import Whom, chat, exit_code, run
from agents.config import Settings
from tests.unit.commands.screen import said
from tests.unit.commands.scripted_api import SESSION, ScriptedApi, event, idle, message, running

HEARD = event("sent_0", "user.message", content=[{"type": "text", "text": "go"}])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> ScriptedApi:
    made = ScriptedApi()
    made.routes["GET", f"/v1/sessions/{SESSION}"] = lambda request: {"id": SESSION, "usage": {"input_tokens": 42}}
    monkeypatch.setattr(talk, "open_client", lambda settings, url: made.client())
    return made


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome("end_turn"), 0),
        (Outcome("interrupted"), 130),
        (Outcome("retries_exhausted", "busy"), 1),
        (Outcome("terminated"), 1),
    ],
)
def test_the_exit_code_tells_how_the_turn_ended(out: Console, outcome: Outcome, code: int) -> None:
    assert exit_code(out, outcome) == code
    assert (outcome.error or "") in said(out)


def test_run_sends_one_prompt_and_shows_the_turn_and_its_use(
    api: ScriptedApi, settings: Settings, out: Console
) -> None:
    api.scripts = [[running(), HEARD, message("m1", "done"), idle("i1")]]
    code = run(out, settings, Whom("m", session=SESSION), "go", url="http://h", embedded=False, yes=False)
    assert code == 0
    for part in ("brain    done", "42", f"session {SESSION}"):
        assert part in said(out)


@pytest.mark.parametrize(("yes", "result"), [(False, "deny"), (True, "allow")])
def test_run_without_a_terminal_allows_a_call_only_when_told_to(
    api: ScriptedApi, settings: Settings, out: Console, yes: bool, result: str
) -> None:
    call = event("call_1", "agent.tool_use", name="bash", input={}, evaluated_permission="ask")
    verdict = event("sent_1", "user.tool_confirmation", tool_use_id="call_1", result=result)
    waiting = idle("i1", "requires_action", event_ids=["call_1"])
    api.scripts = [[running(), HEARD, call, waiting, verdict, idle("i2")]]
    run(out, settings, Whom("m", session=SESSION), "go", url="http://h", embedded=False, yes=yes)
    assert api.sent[1]["result"] == result


def test_run_makes_an_agent_an_environment_and_a_session(api: ScriptedApi, settings: Settings, out: Console) -> None:
    made: list[str] = []
    for kind in ("agents", "environments"):
        api.routes["GET", f"/v1/{kind}"] = lambda request: {"data": [], "next_page": None}
        api.routes["POST", f"/v1/{kind}"] = lambda request, kind=kind: made.append(kind) or {"id": f"{kind}_1"}
    api.routes["POST", "/v1/sessions"] = lambda request: made.append("session") or {"id": SESSION}
    api.scripts = [[running(), HEARD, idle("i1")]]
    assert run(out, settings, Whom("m", ask=True), "go", url="http://h", embedded=False, yes=False) == 0
    assert sorted(made) == ["agents", "environments", "session"]


def test_run_with_a_server_of_its_own_takes_no_url(settings: Settings, out: Console) -> None:
    with pytest.raises(CommandFailed, match="--url"):
        run(out, settings, Whom("m"), "go", url="http://h", embedded=True, yes=False)


def test_chat_goes_on_until_the_user_leaves(
    api: ScriptedApi, settings: Settings, out: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = event("sent_1", "user.message", content=[{"type": "text", "text": "more"}])
    api.scripts = [[running(), HEARD, idle("i1")], [running("r2"), second, idle("i2")]]
    prompts = iter(["go", "more", ""])
    monkeypatch.setattr(talk, "_next_prompt", lambda console: next(prompts))
    monkeypatch.setattr(talk, "_new_session", lambda client, whom, title: SESSION)
    assert chat(out, settings, Whom("m"), url=None, yes=False) == 0
    assert [each["content"][0]["text"] for each in api.sent] == ["go", "more"]
    assert f"hecaton chat --session {SESSION}" in said(out)


def test_chat_goes_on_with_an_older_session_after_showing_its_history(
    api: ScriptedApi, settings: Settings, out: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.history = [running(), message("m0", "long ago"), idle("i0")]
    api.scripts = [[]]
    monkeypatch.setattr(talk, "_next_prompt", lambda console: "")
    assert chat(out, settings, Whom("m", session=SESSION), url=None, yes=False) == 0
    assert "long ago" in said(out)


def test_chat_ends_with_its_session(
    api: ScriptedApi, settings: Settings, out: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.history = []
    api.scripts = [[], [running(), HEARD, event("x", "session.status_terminated")]]
    monkeypatch.setattr(talk, "_next_prompt", lambda console: "go")
    assert chat(out, settings, Whom("m", session=SESSION), url=None, yes=False) == 1
