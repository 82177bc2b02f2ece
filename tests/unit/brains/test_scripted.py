"""The scripted brain does what tests of the loop rely on."""

from __future__ import annotations

import asyncio

import pytest

from agents.brains.assembly import Answer
from agents.brains.port import Brain, BrainFailure, BrainRequest
from agents.brains.scripted import Hold, ScriptedBrain, fail, redacted_thinking, reply, text, thinking, tool_use
from tests.unit.brains.answers import answer_of

REQUEST = BrainRequest("sesn_1", "claude-x", [{"role": "user", "content": "hi"}])


async def ask(brain: Brain, request: BrainRequest = REQUEST) -> Answer:
    return await answer_of(brain, request)


async def test_answers_come_in_order_whatever_their_form() -> None:
    brain = ScriptedBrain(text("one"), [thinking("hm"), redacted_thinking("x"), tool_use("bash", {"command": "ls"})])
    brain.add(reply(text("three"), stop_reason="max_tokens"))
    first, second, third = [await ask(brain) for _ in range(3)]
    assert (first.blocks[0].text, first.stop_reason) == ("one", "end_turn")
    assert [b.kind for b in second.blocks] == ["thinking", "thinking", "tool_use"]
    assert second.stop_reason == "tool_use"
    assert third.stop_reason == "max_tokens"


async def test_an_answer_can_follow_from_the_request() -> None:
    brain = ScriptedBrain(by=lambda request: text(f"{len(request.messages)} messages"))
    assert (await ask(brain)).blocks[0].text == "1 messages"


async def test_requests_are_remembered_as_they_were() -> None:
    brain = ScriptedBrain(text("a"))
    messages = [{"role": "user", "content": "before"}]
    await ask(brain, BrainRequest("s", "m", messages))
    messages[0]["content"] = "after"
    assert (await brain.asked(1)).messages == [{"role": "user", "content": "before"}]


async def test_a_hold_stops_the_stream_in_the_middle_of_a_text() -> None:
    gate = asyncio.Event()
    seen: list[str] = []
    middle = asyncio.Event()

    async def read() -> None:
        async for event in ScriptedBrain(text("Hel", Hold(gate), "lo")).think(REQUEST):
            seen.append(event["type"])
            if event["type"] == "content_block_delta":
                middle.set()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(read())
        await middle.wait()
        assert seen == ["message_start", "content_block_start", "content_block_delta"]
        gate.set()
    assert seen[-1] == "message_stop"


async def test_a_failure_comes_first_or_in_the_middle() -> None:
    brain = ScriptedBrain(fail("rate_limited", retry_after=2.0), text("half", fail("request_failed")))
    with pytest.raises(BrainFailure) as early:
        await ask(brain)
    assert (early.value.kind, early.value.retry_after) == ("rate_limited", 2.0)
    seen: list[str] = []
    with pytest.raises(BrainFailure):
        async for event in brain.think(REQUEST):
            seen.append(event["type"])
    assert seen[-1] == "content_block_delta"
    assert brain.closed_early == 0


async def test_leaving_early_is_counted() -> None:
    brain = ScriptedBrain(text("a", "b"))
    events = brain.think(REQUEST)
    await anext(events)
    await events.aclose()  # type: ignore[attr-defined]
    assert brain.closed_early == 1


async def test_a_script_that_ran_out_fails_for_good() -> None:
    with pytest.raises(BrainFailure, match="no more answers") as caught:
        await ask(ScriptedBrain())
    assert not caught.value.transient
