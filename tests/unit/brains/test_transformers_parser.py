"""What a generated text says, however it is cut into pieces on its way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.brains.assembly import Answer, AnswerAssembler, Block
from agents.brains.transformers.answer import AnswerWriter
from agents.brains.transformers.detokenizer import Detokenizer
from agents.brains.transformers.parser import AnswerParser

SILENT = 1_000


class Bytes:
    """A tokenizer of bytes."""

    def text_of(self, tokens: Any) -> str:
        return bytes(tokens).decode(errors="replace")


def pieces(text: str, width: int) -> Iterator[list[int]]:
    data = list(text.encode())
    return (data[start : start + width] for start in range(0, len(data), width))


def read(text: str, *, width: int = 1, cut_by: str | None = None, **options: bool) -> Answer:
    parser = AnswerParser(**({"thinking": True, "tools": True} | options))
    writer = AnswerWriter(Detokenizer(Bytes(), {SILENT}), parser, model="tiny", input_tokens=3)
    assembler = AnswerAssembler()
    assembler.feed(writer.start())
    for tokens in pieces(text, width):
        for event in writer.take(tokens):
            assembler.feed(event)
    for event in writer.finish(cut_by):
        assembler.feed(event)
    return assembler.finish()


def brief(blocks: list[Block]) -> list[tuple[Any, ...]]:
    return [(b.name, b.input, b.input_error is not None) if b.kind == "tool_use" else (b.kind, b.text) for b in blocks]


def call(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


LS = '{"name": "bash", "arguments": {"command": "ls"}}'
CASES: list[tuple[str, list[tuple[Any, ...]]]] = [
    ("Good morning.", [("text", "Good morning.")]),
    ("  a\n\nb \n", [("text", "a\n\nb")]),
    ("größer 😀", [("text", "größer 😀")]),
    ("a < b <tool_cal", [("text", "a < b <tool_cal")]),
    ("<think>\nhm\n</think>\n\nYes.", [("thinking", "hm"), ("text", "Yes.")]),
    ("<think>hm", [("thinking", "hm")]),
    (call(LS), [("bash", {"command": "ls"}, False)]),
    (f"Look:\n{call(LS)}\n{call(LS)}", [("text", "Look:"), *[("bash", {"command": "ls"}, False)] * 2]),
    (call('{"name":"f","arguments":{}}'), [("f", {}, False)]),
    (call('{"name":"f"}'), [("f", {}, False)]),
    (call('{"arguments": {"a": [1, {"b": "}"}]}, "name": "f"}'), [("f", {"a": [1, {"b": "}"}]}, False)]),
    (call('{"name": "f", "parameters": {"a": "\\"}\\\\"}}'), [("f", {"a": '"}\\'}, False)]),
    (call('{"name": "f", "arguments": "{\\"a\\": 1}"}'), [("f", {"a": 1}, False)]),
    (call('{"name": "f", "arguments": {"a": "x</tool_call>y"}}'), [("f", {"a": "x</tool_call>y"}, False)]),
    # Broken ones: told to the model by the platform, never repaired and never a failure.
    (call('{"name": "f", "arguments": {"a": 1}'), [("f", {"a": 1}, False)]),
    (call('{"name": "f", "arguments": {"a": '), [("f", None, True)]),
    (call('{"name": "f", "arguments": {"a": "x'), [("f", None, True)]),
    (
        call('{"name": "f", "arguments": {"a": "x\ny"}}') + call(LS),
        [("f", None, True), ("bash", {"command": "ls"}, False)],
    ),
    (call('{"name": "f", "arguments": [1]}'), [("f", None, True)]),
    (call('{"name": "f", "arguments": nonsense}'), [("f", None, True)]),
    (call("ls -l"), [("malformed_tool_call", None, True)]),
    (call('{"command": "ls"}'), [("malformed_tool_call", {"command": "ls"}, False)]),
    ("<tool_call>", [("malformed_tool_call", {}, False)]),
    ('<tool_call>{"name": "f", "arguments": {"a": "x', [("f", None, True)]),
    ('<tool_call>{"name": "f", "argum', [("f", None, True)]),
    ("", []),
]


CALL_OPENING = '{"name": "f", "arguments": {'
MARKS = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
FRAGMENTS = [*MARKS, CALL_OPENING, '"a"', ": ", '"', "\\", "}", "\n", "<", "é", "x"]


@pytest.mark.parametrize(("text", "blocks"), CASES)
@pytest.mark.parametrize("width", [1, 5, 10_000])
def test_a_text_is_read_the_same_however_it_is_cut(text: str, blocks: list[tuple[Any, ...]], width: int) -> None:
    assert brief(read(text, width=width).blocks) == blocks


@given(st.lists(st.sampled_from(FRAGMENTS)), st.integers(1, 7))
def test_whatever_is_generated_is_read_the_same_however_it_is_cut(parts: list[str], width: int) -> None:
    text = "".join(parts)
    assert brief(read(text, width=width).blocks) == brief(read(text, width=100_000).blocks)


def test_arguments_are_passed_on_while_they_are_generated() -> None:
    parser = AnswerParser(thinking=False, tools=True)
    writer = AnswerWriter(Detokenizer(Bytes(), ()), parser, model="tiny", input_tokens=3)
    opening = '<tool_call>{"name": "bash", "arguments": {"command": "l'
    events = [event for tokens in pieces(opening, 1) for event in writer.take(tokens)]
    assert events[0]["content_block"]["name"] == "bash"
    assert "".join(event["delta"]["partial_json"] for event in events[1:]) == '{"command": "l'


def test_marks_that_mean_nothing_are_text() -> None:
    text = f"<think>hm</think> {call(LS)}"
    assert brief(read(text, thinking=False, tools=False).blocks) == [("text", text)]


def test_an_answer_may_begin_inside_of_thinking() -> None:
    assert brief(read("hm</think>Yes.", is_thinking=True).blocks) == [("thinking", "hm"), ("text", "Yes.")]


def test_the_end_of_a_turn_may_be_written_out() -> None:
    answer = read("Yes.<|im_end|>\n<|im_start|>user", turn_ends=True)
    assert (brief(answer.blocks), answer.stop_reason) == ([("text", "Yes.")], "end_turn")
    assert answer.usage.output_tokens == len("Yes.<|im_end|>")


def test_an_answer_that_is_cut_off_says_so_even_in_a_call() -> None:
    assert read(call(LS)[:-30], cut_by="max_tokens").stop_reason == "max_tokens"
    assert (read(call(LS)).stop_reason, read("x").stop_reason) == ("tool_use", "end_turn")


def test_what_never_becomes_a_character_is_not_held_for_ever() -> None:
    detokenizer = Detokenizer(Bytes(), {SILENT})
    assert detokenizer.feed([0xC3, SILENT, 0xBC]) == "ü"
    assert detokenizer.feed([0x80] * 100).count("\N{REPLACEMENT CHARACTER}") >= 90
    assert len(detokenizer.finish()) < 10
