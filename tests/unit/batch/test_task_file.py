"""The format of tasks: what a line may say, and how a wrong one is told (ours)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.batch import task_file
from agents.batch.task_file import InvalidTask, parse_task, read_lines

OUTCOME = {"description": "a poem", "rubric": {"type": "text", "text": "rhymes"}}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"prompt": "hi"}, ["user.message"]),
        ({"content": [IMAGE, {"type": "text", "text": "What is it?"}]}, ["user.message"]),
        ({"outcome": OUTCOME}, ["user.define_outcome"]),
        ({"outcome": OUTCOME, "prompt": "hi"}, ["user.define_outcome", "user.message"]),
    ],
)
def test_a_task_is_a_message_an_outcome_or_both(fields: dict[str, Any], kinds: list[str]) -> None:
    assert [event["type"] for event in parse_task(line(**fields)).events()] == kinds


def test_a_prompt_is_sent_as_text_and_content_as_it_is() -> None:
    [said] = parse_task(line(prompt="hi")).events()
    assert said["content"] == [{"type": "text", "text": "hi"}]
    [shown] = parse_task(line(content=[IMAGE])).events()
    assert shown["content"] == [IMAGE]


def test_a_number_may_name_a_row() -> None:
    assert parse_task(line(id=7, prompt="hi")).id == "7"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"{", "is not JSON"),
        (b'"hi"', "valid dictionary"),
        (line(), "needs a prompt, content or an outcome"),
        (line(prompt="hi", content=[IMAGE]), "prompt and content: only one"),
        (line(prompt=" "), "prompt: must not be blank"),
        (line(prompt=3), "prompt: "),
        (line(content=[]), "content: "),
        (line(prompt="hi", promt="ho"), "promt: is no field of a task"),
        (line(prompt="hi", metadata={"batch_row": "1"}), "metadata.batch_row: is the batch's own"),
        (line(prompt="hi", metadata={str(key): "" for key in range(14)}), "metadata: at most 13 pairs"),
        (line(prompt="hi", id=""), "id: "),
    ],
)
def test_what_is_wrong_is_told_by_the_fields_name(raw: bytes, told: str) -> None:
    with pytest.raises(InvalidTask, match=told):
        parse_task(raw)


def test_lines_know_their_place_and_empty_ones_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_bytes(b'{"prompt": "one"}\n\n  \n{"prompt": "two"}')
    content = file.read_bytes()
    lines = list(read_lines(file))
    assert [each.number for each in lines] == [1, 4]
    assert [json.loads(content[each.offset : each.offset + each.length])["prompt"] for each in lines] == ["one", "two"]


def test_a_line_that_is_too_long_is_told_and_the_next_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_file, "MOST_LINE_BYTES", 32)
    file = tmp_path / "tasks.jsonl"
    file.write_bytes(line(prompt="x" * 100) + b"\n" + line(prompt="short") + b"\n")
    long, short = read_lines(file)
    with pytest.raises(InvalidTask, match="is longer than"):
        long.task()
    assert short.task().prompt == "short"
    assert short.offset == long.length
