"""What every brain must do.

Run over the scripted, the replay and the simulated brain, against the stub over claude and server, and over
transformers with the tiny model.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from agents.brains.assembly import Answer
from agents.brains.counting import count_tokens
from agents.brains.port import Brain, BrainFailure, BrainRequest
from tests.contract.brain_stages import ASKING, KINDS, Stage, Told, ask, staged
from tests.unit.brains.answers import answer_of


@pytest.fixture(params=KINDS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with staged(request.param) as stage:
        yield stage


def after(request: BrainRequest, answer: Answer, *results: str) -> BrainRequest:
    """The conversation as the loop continues it."""
    calls = [block for block in answer.blocks if block.kind == "tool_use"]
    content = [
        {"type": "tool_result", "tool_use_id": call.tool_use_id, "content": [{"type": "text", "text": result}]}
        for call, result in zip(calls, results, strict=True)
    ]
    reply = {"role": "assistant", "content": [block.raw for block in answer.blocks]}
    return ask(*request.messages, reply, {"role": "user", "content": content})


async def test_a_text_answer_ends_the_turn(stage: Stage) -> None:
    answer = await answer_of(stage.brain(Told("Good morning.")), ask())
    assert [block.kind for block in answer.blocks] == ["text"]
    assert answer.blocks[0].text.endswith("Good morning.")
    assert answer.stop_reason == "end_turn"


async def test_tool_calls_come_whole_with_distinct_ids(stage: Stage) -> None:
    told = Told("Look:", [("bash", {"command": "ls | wc -l"}), ("read", {"path": "größe.txt", "limit": 3})])
    answer = await answer_of(stage.brain(told), ask())
    calls = [block for block in answer.blocks if block.kind == "tool_use"]
    assert [(call.name, call.input) for call in calls] == told.tools
    assert len({call.tool_use_id for call in calls} - {""}) == 2
    assert answer.stop_reason == "tool_use"


async def test_a_conversation_goes_on_after_tool_results(stage: Stage) -> None:
    brain = stage.brain(Told("", [("bash", {"command": "ls"})]), Told("Done."))
    request = ask()
    first = await answer_of(brain, request)
    second = await answer_of(brain, after(request, first, "a.txt"))
    assert second.blocks[-1].text == "Done."


async def test_usage_is_reported(stage: Stage) -> None:
    usage = (await answer_of(stage.brain(Told("Some words to count.")), ask())).usage
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


async def test_tokens_are_counted_before_they_are_paid_for(stage: Stage) -> None:
    brain = stage.brain(Told("x"))
    short, long = ask(), ask({"role": "user", "content": [{"type": "text", "text": "word " * 100}]})
    async with asyncio.timeout(10):
        counts = [await count_tokens(brain, request) for request in (short, long)]
    assert 0 < counts[0] < counts[1]


async def test_events_are_plain_dicts_from_start_to_stop(stage: Stage) -> None:
    async with asyncio.timeout(10):
        events = [event async for event in stage.brain(Told("x")).think(ask())]
    assert all(type(event) is dict for event in events)
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")


async def test_the_request_is_left_as_it_was(stage: Stage) -> None:
    request, untouched = ask(), ask()
    await answer_of(stage.brain(Told("x")), request)
    assert request == untouched


async def test_a_failure_is_a_brain_failure(stage: Stage) -> None:
    with pytest.raises(BrainFailure) as caught:
        await answer_of(stage.brain(Told(fails=True)), ask())
    assert (caught.value.kind, caught.value.transient) == ("request_failed", False)


@pytest.mark.parametrize("kind", ASKING)
async def test_what_a_model_server_has_is_told_apart(kind: str) -> None:
    async with staged(kind) as stage:
        brain = stage.brain(Told(busy=True), Told("half", breaks=True))
        failures: list[BrainFailure] = []
        for _ in range(2):
            with pytest.raises(BrainFailure) as caught:
                await answer_of(brain, ask())
            failures.append(caught.value)
    assert [(each.kind, each.transient, each.retry_after) for each in failures] == [
        ("overloaded", True, 7),
        ("request_failed", True, None),
    ]


async def read_until_text(brain: Brain, reached: asyncio.Event) -> None:
    async with contextlib.aclosing(brain.think(ask())) as events:  # type: ignore[type-var]
        async for event in events:
            if event["type"] in ("content_block_start", "content_block_delta"):
                reached.set()


async def test_closing_early_cancels_the_generation(stage: Stage) -> None:
    async with asyncio.timeout(10):
        async with contextlib.aclosing(stage.brain(Told("half", stalls=True)).think(ask())) as events:  # type: ignore[type-var]
            async for event in events:
                if event["type"] == "content_block_start":
                    break
        assert await stage.cancelled()


async def test_cancelling_the_reader_cancels_the_generation(stage: Stage) -> None:
    reached = asyncio.Event()
    async with asyncio.timeout(10):
        reader = asyncio.create_task(read_until_text(stage.brain(Told("half", stalls=True)), reached))
        await reached.wait()
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert await stage.cancelled()


async def test_many_conversations_share_one_brain(stage: Stage) -> None:
    brain = stage.brain(*[Told("same") for _ in range(20)])
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(answer_of(brain, ask())) for _ in range(20)]
    assert {task.result().blocks[-1].text.splitlines()[-1] for task in asked} == {"same"}
