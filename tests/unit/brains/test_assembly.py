"""The assembler: blocks, usage and changes out of a Messages-API stream; nonsense becomes a failure."""

from __future__ import annotations

from typing import Any

import pytest

from agents.brains import stream
from agents.brains.assembly import Answer, AnswerAssembler, BlockStarted, BlockStopped, Change, TextDelta, TokenUsage
from agents.brains.port import BrainFailure

START = stream.message_start("msg_1", "claude-x", TokenUsage(input_tokens=7))


def end(reason: str = "end_turn", tokens: int = 3) -> list[dict[str, Any]]:
    return [stream.message_delta(reason, TokenUsage(output_tokens=tokens)), stream.message_stop()]


def assemble(*events: dict[str, Any]) -> tuple[Answer, list[Change]]:
    assembler = AnswerAssembler()
    changes = [change for event in events for change in assembler.feed(event)]
    return assembler.finish(), changes


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        stream.block_start(index, start),
        *(stream.block_delta(index, delta) for delta in deltas),
        stream.block_stop(index),
    ]


def tool(arguments: str, index: int = 0) -> list[dict[str, Any]]:
    start = {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}}
    return block(index, start, {"type": "input_json_delta", "partial_json": arguments})


def test_text_is_joined_and_every_delta_is_told() -> None:
    text = [{"type": "text_delta", "text": part} for part in ("Hel", "lo", "")]
    answer, changes = assemble(START, *block(0, {"type": "text", "text": ""}, *text), *end())
    assert [(b.kind, b.text, b.raw) for b in answer.blocks] == [("text", "Hello", {"type": "text", "text": "Hello"})]
    assert changes == [BlockStarted(0, "text"), TextDelta(0, "Hel"), TextDelta(0, "lo"), BlockStopped(0)]
    assert answer.stop_reason == "end_turn"


def test_text_given_in_the_block_start_is_kept() -> None:
    answer, changes = assemble(
        START, *block(0, {"type": "text", "text": "A"}, {"type": "text_delta", "text": "B"}), *end()
    )
    assert answer.blocks[0].text == "AB"
    assert TextDelta(0, "A") in changes


def test_thinking_keeps_its_signature_and_is_not_previewed() -> None:
    deltas = [{"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "sig"}]
    answer, changes = assemble(START, *block(0, {"type": "thinking", "thinking": "", "signature": ""}, *deltas), *end())
    assert answer.blocks[0].raw == {"type": "thinking", "thinking": "hm", "signature": "sig"}
    assert changes == [BlockStarted(0, "thinking"), BlockStopped(0)]


def test_redacted_thinking_is_thinking_without_text() -> None:
    answer, _ = assemble(START, *block(0, {"type": "redacted_thinking", "data": "xyz"}), *end())
    assert (answer.blocks[0].kind, answer.blocks[0].text) == ("thinking", "")
    assert answer.blocks[0].raw == {"type": "redacted_thinking", "data": "xyz"}


def test_tool_arguments_are_parsed_from_their_pieces() -> None:
    start = {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}}
    pieces = [{"type": "input_json_delta", "partial_json": part} for part in ("", '{"comm', 'and": "ls"}')]
    answer, _ = assemble(START, *block(0, start, *pieces), *end("tool_use"))
    call = answer.blocks[0]
    assert (call.kind, call.name, call.tool_use_id, call.input) == ("tool_use", "bash", "toolu_1", {"command": "ls"})
    assert call.raw == {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {"command": "ls"}}
    assert call.input_error is None


def test_a_tool_call_without_arguments_has_an_empty_input() -> None:
    answer, _ = assemble(START, *tool(""), *end("tool_use"))
    assert answer.blocks[0].input == {}


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_a_call_that_was_cut_off_before_its_arguments_is_none_without_arguments(reason: str) -> None:
    answer, _ = assemble(START, *tool(""), *tool("", index=1), *end(reason))
    first, last = answer.blocks
    assert (first.input, first.input_error) == ({}, None)
    assert last.input is None and "cut off" in (last.input_error or "")
    whole, _ = assemble(START, *tool('{"command": "ls"}'), *end(reason))
    assert whole.blocks[0].input == {"command": "ls"}


@pytest.mark.parametrize("arguments", ['{"command": "l', "[1, 2]", "nonsense"])
def test_bad_tool_arguments_become_a_marker_and_not_a_failure(arguments: str) -> None:
    answer, _ = assemble(START, *tool(arguments), *end("max_tokens"))
    call = answer.blocks[0]
    assert call.input is None
    assert call.input_error is not None
    assert arguments in call.input_error
    assert call.raw["input"] == {}


def test_a_long_bad_argument_is_shown_shortened() -> None:
    answer, _ = assemble(START, *tool("x" * 100_000), *end("tool_use"))
    assert len(answer.blocks[0].input_error or "") < 500


def test_usage_takes_the_newest_count_and_splits_cache_writes() -> None:
    start = stream.message_start(
        "m", "x", TokenUsage(input_tokens=7, cache_read_input_tokens=2, cache_creation_5m=3, cache_creation_1h=4)
    )
    answer, _ = assemble(start, *end(tokens=9))
    assert answer.usage == TokenUsage(7, 9, 2, 3, 4)


def test_a_server_that_counts_only_at_the_end_is_understood() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}
    usage = {"input_tokens": 11, "output_tokens": 4, "cache_creation_input_tokens": 6, "cache_read_input_tokens": None}
    closing = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    answer, _ = assemble(start, closing, stream.message_stop())
    assert answer.usage == TokenUsage(input_tokens=11, output_tokens=4, cache_creation_5m=6)


def test_usage_is_known_while_the_stream_runs() -> None:
    assembler = AnswerAssembler()
    assembler.feed(START)
    assert assembler.usage.input_tokens == 7


def test_a_refusal_carries_its_details() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    answer, _ = assemble(START, stream.message_delta("refusal", TokenUsage(), details), stream.message_stop())
    assert (answer.stop_reason, answer.stop_details, answer.blocks) == ("refusal", details, [])


def test_pings_and_events_of_the_future_change_nothing() -> None:
    answer, changes = assemble({"type": "ping"}, START, {"type": "sparkle", "index": 9}, *end())
    assert changes == []
    assert answer.blocks == []


def test_a_delta_of_the_future_is_ignored() -> None:
    answer, _ = assemble(START, *block(0, {"type": "text", "text": "a"}, {"type": "citations_delta"}), *end())
    assert answer.blocks[0].text == "a"


TEXT_START = stream.block_start(0, {"type": "text", "text": ""})
NONSENSE: dict[str, list[dict[str, Any]]] = {
    "nothing at all": [],
    "only a start": [START],
    "a missing message_stop": [START, *end()[:1]],
    "a block before the message": [TEXT_START],
    "two starts": [START, START],
    "a block that stays open": [START, TEXT_START, *end()],
    "a skipped index": [START, stream.block_start(1, {"type": "text", "text": ""}), stream.block_stop(1), *end()],
    "a start under another index": [START, stream.block_start(1, {"type": "text"}), stream.block_stop(0), *end()],
    "a delta after the stop of its block": [START, TEXT_START, stream.block_stop(0), stream.text_delta(0, "x")],
    "a delta for no block": [START, stream.text_delta(0, "x")],
    "a delta of the wrong kind": [START, TEXT_START, stream.input_delta(0, "{}")],
    "events after the end": [START, *end(), TEXT_START],
    "no stop reason": [START, stream.message_stop()],
    "a delta without body": [START, TEXT_START, {"type": "content_block_delta", "index": 0}],
    "a start without message": [{"type": "message_start"}],
    "an index that is no number": [START, TEXT_START, {"type": "content_block_stop", "index": "0"}],
}


@pytest.mark.parametrize("events", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_a_transient_failed_request(events: list[dict[str, Any]]) -> None:
    with pytest.raises(BrainFailure) as caught:
        assemble(*events)
    assert (caught.value.kind, caught.value.transient) == ("request_failed", True)


def test_an_unsupported_block_fails_for_good() -> None:
    with pytest.raises(BrainFailure, match="hologram") as caught:
        assemble(START, stream.block_start(0, {"type": "hologram"}))
    assert not caught.value.transient
