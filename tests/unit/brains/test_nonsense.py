"""Whatever a model server sends, an answer is put together from it or refused; no other error comes of it (ours).

Bug class this catches: a field of the wrong type that travels on and ends a turn, or a request, in an internal error.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from agents.brains import stream
from agents.brains.assembly import Answer, AnswerAssembler, TokenUsage, UsageCount
from agents.brains.message import MessageBuilder
from agents.brains.port import BrainFailure

USAGE = TokenUsage(10, 5, 3, 2, 1)
SOUND: list[dict[str, Any]] = [
    stream.message_start("msg_1", "m", USAGE),
    stream.block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
    stream.block_delta(0, {"type": "thinking_delta", "thinking": "hm"}),
    stream.block_delta(0, {"type": "signature_delta", "signature": "s"}),
    stream.block_stop(0),
    stream.block_start(1, {"type": "text", "text": ""}),
    stream.text_delta(1, "half"),
    stream.block_stop(1),
    stream.block_start(2, {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}}),
    stream.input_delta(2, '{"command": "ls"}'),
    stream.block_stop(2),
    stream.block_start(3, {"type": "redacted_thinking", "data": "x"}),
    stream.block_stop(3),
    stream.message_delta("tool_use", USAGE, {"type": "refusal"}),
    stream.message_stop(),
]
ODD: list[Any] = [None, True, 0, -1, 1.5, "", "odd", [], ["odd"], [["a", 1]], {}, {"odd": "odd"}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything inside *value*."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from places(inner, (*path, key))


# Every event is an object with a kind, or its engine would not have taken it.
_LEFT_OUT = object()
PLACES = [path for path in places(SOUND) if len(path) > 1 and path[1:] != ("type",)]


def unsound() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield sound streams with one value left out or replaced, and what was done to each."""
    for path in PLACES:
        for odd in (_LEFT_OUT, *ODD):
            events = copy.deepcopy(SOUND)
            holder: Any = events
            for key in path[:-1]:
                holder = holder[key]
            if odd is not _LEFT_OUT:
                holder[path[-1]] = odd
            else:
                del holder[path[-1]]
            yield f"{path} {odd!r}", events


def is_sound(answer: Answer) -> bool:
    texts = [answer.stop_reason]
    for block in answer.blocks:
        texts += [block.text, block.name, block.tool_use_id]
    return all(isinstance(each, str) for each in texts)


def test_a_session_gets_an_answer_or_a_failed_request() -> None:
    for what, events in unsound():
        assembler = AnswerAssembler()
        with suppress(BrainFailure):
            for event in events:
                assembler.feed(event)
            assert is_sound(assembler.finish()), what
        assert isinstance(assembler.usage.total, int), what


def test_a_client_gets_a_message_or_a_failed_request() -> None:
    for what, events in unsound():
        builder = MessageBuilder()
        with suppress(BrainFailure):
            for event in events:
                builder.feed(event)
            assert isinstance(builder.finish()["content"], list), what


def test_what_was_used_is_counted_as_far_as_it_is_told() -> None:
    for what, events in unsound():
        count = UsageCount()
        for event in events:
            count.see(event)
        assert isinstance(count.total.total, int), what


def test_a_sound_stream_is_an_answer() -> None:
    assembler, builder, count = AnswerAssembler(), MessageBuilder(), UsageCount()
    for event in SOUND:
        assembler.feed(event), builder.feed(event), count.see(event)
    assert [block.kind for block in assembler.finish().blocks] == ["thinking", "text", "tool_use", "thinking"]
    assert [block["type"] for block in builder.finish()["content"]][-1] == "redacted_thinking"
    assert count.total == assembler.usage != TokenUsage()
