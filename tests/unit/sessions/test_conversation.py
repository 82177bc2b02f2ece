"""Whatever the interleaving, the model sees a well-formed conversation in processing order (design law 2)."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.ids import EventId
from agents.sessions.conversation import Conversation
from agents.sessions.events import Event, EventType

_REMARK = EventType.SYSTEM_MESSAGE


def _event(number: int, type_: EventType, body: dict[str, Any]) -> Event:
    return Event(EventId(f"sevt_{number}"), type_, body, None, number)


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Logs in which answers make calls, results come in any order, and user input falls anywhere."""
    log: list[Event] = []
    open_calls: list[tuple[str, bool]] = []
    for number in range(draw(st.integers(1, 40))):
        choices = ["user", "remark"]
        if open_calls:
            choices += ["result", "result"]
        elif any(e.type is EventType.USER_MESSAGE for e in log):
            choices += ["say", "call", "call"]
        match draw(st.sampled_from(choices)):
            case "user":
                body = {"content": [{"type": "text", "text": f"u{number}"}]}
                log.append(_event(number, EventType.USER_MESSAGE, body))
            case "remark":
                body = {"content": [{"type": "text", "text": f"s{number}"}]}
                log.append(_event(number, EventType.SYSTEM_MESSAGE, body))
            case "say":
                body = {"content": [{"type": "text", "text": f"a{number}"}]}
                log.append(_event(number, EventType.AGENT_MESSAGE, body))
            case "call":
                for part in range(draw(st.integers(1, 3))):
                    custom = draw(st.booleans())
                    type_ = EventType.AGENT_CUSTOM_TOOL_USE if custom else EventType.AGENT_TOOL_USE
                    event = Event(EventId(f"sevt_{number}_{part}"), type_, {"name": "t", "input": {}}, None, number)
                    open_calls.append((event.id, custom))
                    log.append(event)
            case "result":
                call_id, custom = open_calls.pop(draw(st.integers(0, len(open_calls) - 1)))
                key = "custom_tool_use_id" if custom else "tool_use_id"
                type_ = EventType.USER_CUSTOM_TOOL_RESULT if custom else EventType.AGENT_TOOL_RESULT
                log.append(_event(number, type_, {key: call_id, "content": None, "is_error": draw(st.booleans())}))
    return log


def _folded(log: list[Event]) -> Conversation:
    conversation = Conversation()
    for event in log:
        conversation.apply(event)
    return conversation


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    return [block["text"] for m in messages for block in m["content"] if block["type"] == "text"]


@given(logs())
@settings(max_examples=300, deadline=None)
def test_roles_alternate_and_start_with_the_user(log: list[Event]) -> None:
    roles = [m["role"] for m in _folded(log).messages if m["role"] != "system"]
    assert roles == ["user" if i % 2 == 0 else "assistant" for i in range(len(roles))]


@given(logs())
@settings(max_examples=300, deadline=None)
def test_every_tool_use_is_followed_by_its_result_in_call_order(log: list[Event]) -> None:
    messages = _folded(log).messages
    for index, message in enumerate(messages):
        uses = [b["id"] for b in message["content"] if b["type"] == "tool_use"]
        if not uses or index + 1 == len(messages):
            continue
        following = messages[index + 1]["content"]
        assert messages[index + 1]["role"] == "user"
        assert [b["tool_use_id"] for b in following[: len(uses)]] == uses
        assert all(b["type"] != "tool_result" for b in following[len(uses) :])


@given(logs())
@settings(max_examples=300, deadline=None)
def test_what_was_said_appears_in_processing_order_unless_held_for_open_calls(log: list[Event]) -> None:
    said = [e.body["content"][0]["text"] for e in log if e.body.get("content") and e.type is not _REMARK]
    seen = _texts([m for m in _folded(log).messages if m["role"] != "system"])
    assert seen == said[: len(seen)], "held input is a suffix; nothing is reordered or lost"


@given(logs())
@settings(max_examples=300, deadline=None)
def test_a_system_message_stands_between_the_user_and_the_answer(log: list[Event]) -> None:
    messages = _folded(log).messages
    for index, message in enumerate(messages):
        if message["role"] == "system":
            assert messages[index - 1]["role"] == "user"
            assert index + 1 == len(messages) or messages[index + 1]["role"] == "assistant"
    said = [e.body["content"][0]["text"] for e in log if e.type is _REMARK]
    seen = _texts([m for m in messages if m["role"] == "system"])
    assert seen == said[: len(seen)]


@given(logs(), st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_folding_is_incremental(log: list[Event], cut: int) -> None:
    conversation = _folded(log[:cut])
    shown = conversation.snapshot()
    before = [dict(m) for m in shown]
    for event in log[cut:]:
        conversation.apply(event)
    assert conversation.messages == _folded(log).messages
    assert [dict(m) for m in shown] == before, "a request in flight keeps what it was given"
