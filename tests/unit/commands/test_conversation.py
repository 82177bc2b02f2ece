"""A turn is followed to its end whatever the connection does (ours; the recipe is spec B.4)."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from agents.commands import conversation
from agents.commands.conversation import Conversation, Outcome
from agents.commands.failures import CommandFailed
from tests.unit.commands.scripted_api import SESSION, Break, ScriptedApi, event, idle, message, running

HEARD = event("sent_0", "user.message", content=[{"type": "text", "text": "go"}])
ASKED = event("call_1", "agent.tool_use", name="edit", input={"file_path": "a"}, evaluated_permission="ask")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_RECONNECT_WAIT", 0.0)


@pytest.fixture
def api() -> ScriptedApi:
    return ScriptedApi()


class Talk:
    """A conversation that records what it shows and allows every call."""

    def __init__(self, api: ScriptedApi) -> None:
        self.shown: list[str] = []
        self.asked: list[str] = []
        self.talk = Conversation(
            api.client(), SESSION, show=lambda each: self.shown.append(str(each["id"])), answer=self._allow
        )

    def _allow(self, call: Any) -> dict[str, Any]:
        self.asked.append(call["id"])
        return {"type": "user.tool_confirmation", "tool_use_id": call["id"], "result": "allow"}


def test_a_turn_ends_with_the_idle_that_follows_what_was_sent(api: ScriptedApi) -> None:
    api.scripts = [[running(), HEARD, message("m1", "done"), idle("i1")]]
    talk = Talk(api)
    assert talk.talk.say("go") == Outcome("end_turn")
    assert talk.shown == ["sevt_run", "sent_0", "m1", "i1"]
    assert api.sent == [{"type": "user.message", "content": [{"type": "text", "text": "go"}]}]


def test_the_end_of_an_earlier_turn_is_not_taken_for_this_ones(api: ScriptedApi) -> None:
    api.scripts = [[idle("before"), running(), HEARD, idle("after")]]
    talk = Talk(api)
    talk.talk.say("go")
    assert talk.shown[-1] == "after"


def test_a_broken_stream_goes_on_from_history_without_a_gap_or_a_repetition(api: ScriptedApi) -> None:
    api.scripts = [
        [running(), HEARD, message("m1", "one"), Break()],
        [message("m2", "two"), message("m3", "three"), idle("i1")],
    ]
    api.history = [running(), HEARD, message("m1", "one"), message("m2", "two")]
    talk = Talk(api)
    assert talk.talk.say("go").succeeded
    assert talk.shown == ["sevt_run", "sent_0", "m1", "m2", "m3", "i1"]


def test_a_stream_that_ends_early_is_opened_again(api: ScriptedApi) -> None:
    api.scripts = [[running(), HEARD], [idle("i1")]]
    assert Talk(api).talk.say("go").succeeded


def test_a_turn_that_ended_while_the_line_was_down_is_found_in_history(api: ScriptedApi) -> None:
    api.scripts = [[running(), HEARD, Break()], []]
    api.history = [running(), HEARD, idle("i1")]
    assert Talk(api).talk.say("go").succeeded


def test_a_server_that_is_gone_for_good_is_given_up_with_a_hint(api: ScriptedApi) -> None:
    api.scripts = [[running(), Break()]]
    with pytest.raises(CommandFailed, match="sessions show sesn_1"):
        Talk(api).talk.say("go")


def test_a_refused_message_is_an_error_of_the_sdk(api: ScriptedApi) -> None:
    api.scripts = [[]]
    api.refuse_send = 400
    with pytest.raises(anthropic.BadRequestError):
        Talk(api).talk.say("go")


def test_a_call_that_waits_for_the_user_is_answered_once(api: ScriptedApi) -> None:
    waiting = {"stop": "requires_action", "event_ids": ["call_1"]}
    api.scripts = [[running(), HEARD, ASKED, idle("i1", **waiting), idle("i2", **waiting), idle("i3")]]
    talk = Talk(api)
    api.scripts[0].insert(-1, event("sent_1", "user.tool_confirmation", tool_use_id="call_1", result="allow"))
    assert talk.talk.say("go").succeeded
    assert talk.asked == ["call_1"]
    assert api.sent[1:] == [{"type": "user.tool_confirmation", "tool_use_id": "call_1", "result": "allow"}]


def test_all_calls_that_wait_are_answered_in_one_request(api: ScriptedApi) -> None:
    second = {**ASKED, "id": "call_2"}
    confirmed = [event(f"sent_{n}", "user.tool_confirmation", tool_use_id=f"call_{n}", result="allow") for n in (1, 2)]
    waiting = idle("i1", "requires_action", event_ids=["call_1", "call_2"])
    api.scripts = [[running(), HEARD, ASKED, second, waiting, *confirmed, idle("i2")]]
    talk = Talk(api)
    assert talk.talk.say("go").succeeded
    assert talk.asked == ["call_1", "call_2"]


def test_a_call_that_waits_for_a_worker_is_none_of_the_users(api: ScriptedApi) -> None:
    allowed = {**ASKED, "evaluated_permission": "allow"}
    waiting = idle("i1", "requires_action", event_ids=["call_1"])
    answered = event("sent_9", "user.tool_result", tool_use_id="call_1", content=[])
    api.scripts = [[running(), HEARD, allowed, waiting, answered, idle("i2")]]
    talk = Talk(api)
    assert talk.talk.say("go").succeeded and talk.asked == []


def test_a_custom_tool_is_answered_with_an_error_because_nobody_runs_it_here(api: ScriptedApi) -> None:
    call = event("call_1", "agent.custom_tool_use", name="lookup", input={})
    answered = event("sent_1", "user.custom_tool_result", custom_tool_use_id="call_1", content=[])
    waiting = idle("i1", "requires_action", event_ids=["call_1"])
    api.scripts = [[running(), HEARD, call, waiting, answered, idle("i2")]]
    talk = Talk(api)
    assert talk.talk.say("go").succeeded
    assert (api.sent[1]["custom_tool_use_id"], api.sent[1]["is_error"]) == ("call_1", True)


@pytest.mark.parametrize("stop", ["retries_exhausted", "refusal", "budget_reached"])
def test_a_turn_that_did_not_end_well_says_why(api: ScriptedApi, stop: str) -> None:
    error = event("e1", "session.error", error={"type": "model_overloaded_error", "message": "busy"})
    api.scripts = [[running(), HEARD, error, idle("i1", stop)]]
    outcome = Talk(api).talk.say("go")
    assert outcome == Outcome(stop, "model_overloaded_error: busy")
    assert not outcome.succeeded


def test_flushed_input_does_not_keep_the_turn_open(api: ScriptedApi) -> None:
    api.scripts = [[running(), idle("i1", "retries_exhausted")]]
    assert Talk(api).talk.say("go").stop == "retries_exhausted"


@pytest.mark.parametrize(
    ("kind", "stop"), [("session.status_terminated", "terminated"), ("session.deleted", "deleted")]
)
def test_the_end_of_the_session_ends_the_turn(api: ScriptedApi, kind: str, stop: str) -> None:
    api.scripts = [[running(), HEARD, event("x", kind)]]
    assert Talk(api).talk.say("go").stop == stop


def _press_ctrl_c() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_interrupts_the_agent_and_follows_on(api: ScriptedApi) -> None:
    api.scripts = [[running(), HEARD, _press_ctrl_c], [event("sent_1", "user.interrupt"), idle("i1")]]
    api.history = [running(), HEARD]
    assert Talk(api).talk.say("go").stop == "interrupted"
    assert api.sent[1:] == [{"type": "user.interrupt"}]


def test_a_second_ctrl_c_leaves(api: ScriptedApi) -> None:
    api.scripts = [[running(), HEARD, _press_ctrl_c], [_press_ctrl_c]]
    with pytest.raises(KeyboardInterrupt):
        Talk(api).talk.say("go")


def test_attaching_to_an_idle_session_shows_its_history_and_returns(api: ScriptedApi) -> None:
    api.scripts = [[]]
    api.history = [running(), message("m1", "old"), idle("i1")]
    talk = Talk(api)
    assert talk.talk.attach() is None
    assert talk.shown == ["sevt_run", "m1", "i1"]


def test_attaching_to_a_fresh_session_returns(api: ScriptedApi) -> None:
    api.scripts = [[]]
    assert Talk(api).talk.attach() is None


def test_attaching_to_a_session_that_waits_answers_and_follows(api: ScriptedApi) -> None:
    api.history = [running(), ASKED, idle("i1", "requires_action", event_ids=["call_1"])]
    confirmed = event("sent_0", "user.tool_confirmation", tool_use_id="call_1", result="allow")
    api.scripts = [[running("r2"), confirmed, message("m2", "on"), idle("i2")]]
    talk = Talk(api)
    outcome = talk.talk.attach()
    assert outcome is not None
    assert outcome.succeeded
    assert talk.asked == ["call_1"]
    assert talk.shown == ["sevt_run", "call_1", "i1", "r2", "sent_0", "m2", "i2"]


def test_attaching_to_a_running_session_follows_it(api: ScriptedApi) -> None:
    api.history = [idle("i0"), running("r2")]
    api.scripts = [[idle("i1")]]
    outcome = Talk(api).talk.attach()
    assert outcome is not None
    assert outcome.succeeded
