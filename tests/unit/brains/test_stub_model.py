"""The stub model server itself: rules, scripts, records and remote control."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import pytest

from tests.stub_model import running_stub, stub_in_thread
from tests.stub_model.rules import parse, place, rule_answer
from tests.stub_model.script import Point, Text, ToolUse
from tests.unit.brains.answers import user

ANSWER = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "bash", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]}


def shape(directive: str, answered: int) -> str | int:
    """The text of an answer, or the number of its tool calls."""
    content = rule_answer(directive, answered).content
    calls = [item for item in content if isinstance(item, ToolUse)]
    return len(calls) or "".join(part for part in content[-1].text if isinstance(part, str))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("directive", "shapes"),
    [
        ("text=hi", ["hi"]),
        ("tools=1", [1, "ok"]),
        ("tools=2", [1, 1, "ok"]),
        ("parallel=4", [4, "ok"]),
        ('tools=1 parallel=4 rounds=5 command="true" text="all done"', [4, 4, 4, 4, 4, "all done"]),
        ("rounds=0 parallel=4", ["ok"]),
        ("chars=10 text=abc chunks=3", ["abcabcabca"]),
        ("chars=10 text=abc chunks=3 first=0.1 rate=5", ["abcabcabca"]),
    ],
)
def test_a_rule_says_what_each_answer_of_a_turn_is(directive: str, shapes: list[str | int]) -> None:
    assert [shape(directive, answered) for answered in range(len(shapes))] == shapes


def test_a_pace_is_kept_by_the_clock_from_the_opening_on() -> None:
    [answer] = rule_answer("chars=9 text=abc chunks=3 first=0.1 rate=4", 0).content
    assert isinstance(answer, Text)
    assert answer.text == [Point(at=0.1), "abc", Point(at=0.35), "abc", Point(at=0.6), "abc"]


def test_the_place_is_counted_from_the_newest_user_text() -> None:
    first = user("please\nstub: tools=2\nthanks")
    assert place([first]) == ("tools=2", 0)
    assert place([first, ANSWER, RESULT]) == ("tools=2", 1)
    assert place([first, ANSWER, RESULT, ANSWER, user("again")]) == ("tools=2", 0)
    assert place([first, ANSWER, user("stub: text=x"), ANSWER]) == ("text=x", 1)
    assert place([user("no rule")]) == ("", 0)


@pytest.mark.parametrize("directive", ["tools", "speed=3", "tools=many", "delay=soon", 'text="open'])
def test_a_directive_that_is_not_understood_is_refused(directive: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(directive)


async def test_the_official_client_is_served_in_both_ways() -> None:
    async with running_stub() as stub, anthropic.AsyncAnthropic(api_key="k", base_url=stub.url) as client:
        messages: Any = [user("stub: tools=1 command='ls -l'")]
        whole = await client.messages.create(model="m", max_tokens=9, messages=messages)
        async with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
            streamed = await stream.get_final_message()
    assert whole.content[0].input == streamed.content[0].input == {"command": "ls -l"}  # type: ignore[union-attr]
    assert (whole.stop_reason, streamed.stop_reason) == ("tool_use", "tool_use")
    assert whole.usage.output_tokens == streamed.usage.output_tokens == 20


def ask(url: str, text: str, **given: Any) -> httpx.Response:
    body = {"model": "m", "max_tokens": 9, "messages": [user(text)], **given}
    return httpx.post(f"{url}/v1/messages", json=body, timeout=10)


def test_scripts_are_matched_by_a_word_and_used_up_in_order() -> None:
    with stub_in_thread() as stub:
        stub.script({"content": [{"type": "text", "text": "general"}]})
        stub.script({"status": 529, "headers": {"Retry-After": "2"}}, {"content": []}, match="word-7")
        failed = ask(stub.url, "here is word-7")
        assert (failed.status_code, failed.headers["retry-after"]) == (529, "2")
        assert ask(stub.url, "here is word-7").json()["content"] == []
        assert ask(stub.url, "here is word-7").json()["content"][0]["text"] == "general"
        assert ask(stub.url, "other").json()["content"][0]["text"] == "ok"


def test_requests_are_shown_and_waited_for() -> None:
    with stub_in_thread() as stub:
        ask(stub.url, "first")
        ask(stub.url, "second")
        assert len(stub.seen(2)) == 2
        [shown] = stub.seen(1, match="second")
        assert shown["body"]["messages"] == [user("second")]
        with pytest.raises(TimeoutError):
            stub.seen(3, timeout=0.05)
        stub.reset()
        assert stub.seen() == []


def test_it_tells_for_how_long_it_was_at_work_on_how_many_requests() -> None:
    with stub_in_thread() as stub:
        ask(stub.url, "first")
        ask(stub.url, "stub: speed=3")
        told = httpx.get(f"{stub.url}/_occupancy").json()
        assert (told["ended"], told["most"]) == (2, 1)
        assert 0 < told["busy_seconds"] < told["at"]


def test_a_wrong_script_is_refused_by_name() -> None:
    with stub_in_thread() as stub, pytest.raises(ValueError, match="contents"):
        stub.script({"contents": []})


def test_a_wrong_directive_or_body_is_a_400() -> None:
    with stub_in_thread() as stub:
        assert "speed=3" in ask(stub.url, "stub: speed=3").text
        assert httpx.post(f"{stub.url}/v1/messages", content=b"{").status_code == 400
        assert httpx.post(f"{stub.url}/v1/complete", content=b"{}").status_code == 404


def test_a_gate_opens_on_release() -> None:
    with stub_in_thread() as stub:
        stub.script({"content": [{"type": "text", "text": ["a", {"gate": "g"}, "b"]}]})
        body = {"model": "m", "max_tokens": 9, "stream": True, "messages": [user("x")]}
        with httpx.stream("POST", f"{stub.url}/v1/messages", json=body, timeout=10) as response:
            lines = response.iter_lines()
            first = next(line for line in lines if '"a"' in line)
            stub.release("g")
            second = next(line for line in lines if '"b"' in line)
        assert first != second
