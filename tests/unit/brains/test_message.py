"""From a stream of events to the message that it is: nothing left out, nothing half."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.beta import BetaMessage

from agents.brains import stream
from agents.brains.assembly import TokenUsage
from agents.brains.message import MessageBuilder
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.scripted import ScriptedBrain, raw_tool_use, redacted_thinking, reply, text, thinking, tool_use

USAGE = TokenUsage(10, 5, 3, 2, 1)
START = stream.message_start("msg_1", "m", USAGE)
END = [stream.message_delta("end_turn", USAGE), stream.message_stop()]


def built(*events: dict[str, Any]) -> dict[str, Any]:
    builder = MessageBuilder()
    for event in events:
        builder.feed(event)
    return builder.finish()


async def said(*items: Any) -> dict[str, Any]:
    brain = ScriptedBrain(reply(*items, usage=USAGE))
    return built(*[event async for event in brain.think(BrainRequest("s", "m", []))])


async def test_every_kind_of_block_is_put_together() -> None:
    call = tool_use("bash", {"command": ["ls"]}, tool_use_id="t_1")
    message = await said(thinking("a", "b"), redacted_thinking("x"), text("c", "d"), call)
    assert message["content"] == [
        {"type": "thinking", "thinking": "ab", "signature": "signed"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "cd"},
        {"type": "tool_use", "id": "t_1", "name": "bash", "input": {"command": ["ls"]}},
    ]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("tool_use", 5)
    assert message["usage"]["cache_read_input_tokens"] == 3
    assert BetaMessage.model_validate(message).content[2].type == "text"


@pytest.mark.parametrize("written", ['{"a": ', "[1]", "nonsense"])
async def test_tool_input_that_is_no_object_is_wrapped_as_it_came(written: str) -> None:
    message = await said(raw_tool_use("bash", written[:2], written[2:]))
    assert message["content"][0]["input"] == {"INVALID_JSON": written}


async def test_a_call_without_arguments_has_an_empty_input() -> None:
    assert (await said(raw_tool_use("bash", "")))["content"][0]["input"] == {}


def test_what_is_not_known_here_is_kept_as_it_came() -> None:
    searched = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result"}]}
    citation = {"type": "char_location", "cited_text": "x"}
    message = built(
        START,
        stream.block_start(0, searched),
        stream.block_stop(0),
        stream.block_start(1, {"type": "text", "text": "", "citations": None}),
        stream.block_delta(1, {"type": "citations_delta", "citation": citation}),
        stream.text_delta(1, "y"),
        stream.block_stop(1),
        stream.block_start(2, {"type": "compaction", "content": None}),
        stream.block_delta(2, {"type": "compaction_delta", "content": "short"}),
        stream.block_stop(2),
        {"type": "surprise"},
        {**END[0], "context_management": {"applied_edits": []}},
        END[1],
    )
    assert message["content"] == [
        searched,
        {"type": "text", "text": "y", "citations": [citation]},
        {"type": "compaction", "content": "short"},
    ]
    assert message["context_management"] == {"applied_edits": []}


@pytest.mark.parametrize(
    "events",
    [
        [],
        [START],
        [START, *END[:1]],
        [stream.text_delta(0, "x")],
        [START, stream.text_delta(0, "x"), *END],
        [START, stream.block_start(1, {"type": "text", "text": ""}), *END],
        [{"type": "message_start"}, *END],
        [START, {"type": "message_delta"}, *END[1:]],
        [START, *END, *END],
    ],
)
def test_a_stream_that_breaks_the_protocol_is_a_failure(events: list[dict[str, Any]]) -> None:
    with pytest.raises(BrainFailure):
        built(*events)


def test_the_events_themselves_are_left_as_they_are() -> None:
    start = stream.block_start(0, {"type": "text", "text": ""})
    built(START, start, stream.text_delta(0, "x"), stream.block_stop(0), *END)
    assert (START["message"]["content"], start["content_block"]["text"]) == ([], "")
