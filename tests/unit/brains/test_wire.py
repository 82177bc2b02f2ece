"""The Messages-API body: cache breakpoints on the stable prefix, nothing of the caller's altered."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from agents.brains.port import BrainRequest
from agents.brains.wire import counting_body, request_body, request_headers

MARK = {"type": "ephemeral"}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": b} if isinstance(b, str) else b for b in blocks]}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


CALL = {"type": "tool_use", "id": "t", "name": "bash", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}


def body_of(*messages: dict[str, Any], **given: Any) -> dict[str, Any]:
    return request_body(BrainRequest("s", "claude-x", list(messages), **given))


def marks(value: Any) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(marks, value.values()))
    return sum(map(marks, value)) if isinstance(value, list) else 0


def test_the_plain_fields_are_carried_over() -> None:
    body = body_of(user("hi"), max_tokens=77)
    assert {key: body[key] for key in ("model", "max_tokens", "stream")} == {
        "model": "claude-x",
        "max_tokens": 77,
        "stream": True,
    }
    assert set(body) == {"model", "max_tokens", "stream", "messages"}


def test_the_ends_of_tools_and_system_are_marked() -> None:
    body = body_of(user("hi"), system="be kind", tools=[{"name": "a"}, {"name": "b"}])
    assert body["tools"] == [{"name": "a"}, {"name": "b", "cache_control": MARK}]
    assert body["system"] == [{"type": "text", "text": "be kind", "cache_control": MARK}]


def test_the_newest_user_message_and_the_one_before_are_marked() -> None:
    body = body_of(user("1"), assistant(CALL), user(RESULT), assistant(CALL), user(RESULT, "2"))
    assert [marks(message) for message in body["messages"]] == [0, 0, 1, 0, 1]
    assert body["messages"][-1]["content"][-1]["cache_control"] == MARK
    assert "cache_control" not in body["messages"][-1]["content"][0]


def test_there_are_never_more_than_four_marks() -> None:
    history = [user("1"), assistant(CALL), user(RESULT)] * 30
    assert marks(body_of(*history, system="s", tools=[{"name": "a"}] * 9)) == 4


def test_a_message_of_plain_text_can_be_marked() -> None:
    body = body_of({"role": "user", "content": "hi"})
    assert body["messages"][0]["content"] == [{"type": "text", "text": "hi", "cache_control": MARK}]


def test_what_cannot_be_marked_is_passed_over() -> None:
    body = body_of(user("real"), assistant(CALL), user("question", ""), user(""))
    assert [marks(message) for message in body["messages"]] == [1, 0, 1, 0]
    assert body["messages"][2]["content"][0]["cache_control"] == MARK


def test_the_request_is_never_altered() -> None:
    request = BrainRequest("s", "m", [user("1"), assistant(CALL), user(RESULT)], system="s", tools=[{"name": "a"}])
    before = copy.deepcopy(request)
    request_body(request)
    assert request == before


@pytest.mark.parametrize(
    ("effort", "expected"), [(None, None), ("high", None), ("low", {"effort": "low"}), ("max", {"effort": "max"})]
)
def test_effort_is_sent_when_it_is_not_the_default(effort: str | None, expected: dict[str, str] | None) -> None:
    assert body_of(user("hi"), effort=effort).get("output_config") == expected


def test_fast_speed_is_asked_for_with_its_beta() -> None:
    fast = BrainRequest("s", "m", [user("hi")], speed="fast")
    slow = BrainRequest("s", "m", [user("hi")], speed="standard")
    assert request_body(fast)["speed"] == "fast"
    assert "fast-mode" in request_headers(fast)["anthropic-beta"]
    assert "speed" not in request_body(slow)
    assert request_headers(slow) == {}


def test_a_clients_own_body_is_sent_as_it_is_under_the_brains_name_of_the_model() -> None:
    own: dict[str, Any] = {
        "model": "alias",
        "max_tokens": 5,
        "messages": [user("hi")],
        "system": [{"type": "text", "text": "s", "cache_control": MARK | {"ttl": "1h"}}],
        "temperature": 0.3,
        "stop_sequences": ["END"],
        "stream": False,
    }
    request = BrainRequest("s", "told", [user("other")], system="other", max_tokens=1, body=own)
    assert request_body(request) == own | {"model": "told", "stream": True}
    assert own["stream"] is False


def test_what_the_client_named_as_betas_goes_along_once() -> None:
    assert request_headers(BrainRequest("s", "m", [], betas=("a-1", "b-2"))) == {"anthropic-beta": "a-1,b-2"}
    fast = BrainRequest("s", "m", [], speed="fast", betas=("fast-mode-2026-02-01",))
    assert request_headers(fast) == {"anthropic-beta": "fast-mode-2026-02-01"}


def test_counting_asks_for_nothing_that_the_count_does_not_take() -> None:
    request = BrainRequest("s", "m", [user("hi")], system="s", tools=[{"name": "a"}], inference_geo="us", effort="low")
    assert set(counting_body(request)) == {"model", "messages", "system", "tools", "output_config"}
