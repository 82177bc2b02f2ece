"""What a judge of a tool call is shown, and that only its three words count."""

from __future__ import annotations

from typing import Any

import pytest

from agents.brains.judging import judgement, question

CALL: dict[str, Any] = {"tool": "bash", "description": "", "input": {"command": "ls"}}


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("allow", "allow"),
        (" allow\n", "allow"),
        ("deny", "deny"),
        ("ask", "ask"),
        *((each, "ask") for each in ("", "Allow", "allow.", "allowed", "allow deny", "I would allow it", '"allow"')),
    ],
)
def test_only_a_bare_word_is_a_judgement(said: str, means: str) -> None:
    assert judgement(said) == means


def shown(entries: list[str], characters: int = 1000) -> list[str]:
    messages = question(["Be careful."], entries, CALL, characters=characters)
    assert messages is not None
    [message] = messages
    return [block["text"] for block in message["content"]]


def test_the_call_stands_last_and_whole() -> None:
    texts = shown(["<user>\nlist the files", "<assistant>\nI will."])
    assert texts[0] == "<instructions>\nBe careful.\n</instructions>"
    assert texts[1:-1] == ["<user>\nlist the files", "<assistant>\nI will."]
    assert '"command": "ls"' in texts[-1]


def test_of_a_long_conversation_the_beginning_and_the_end_are_shown() -> None:
    entries = [f"<user>\n{number} {'x' * 100}" for number in range(50)]
    texts = shown(entries)[1:-1]
    assert texts[0] == entries[0] and "left out" in texts[1] and texts[2:] == entries[50 - len(texts[2:]) :]
    assert len(texts[2:]) > 1 and sum(map(len, texts)) < 2000


def test_a_call_that_cannot_be_shown_whole_is_not_judged() -> None:
    long = {**CALL, "input": {"command": "x" * 1000}}
    assert question([], ["<user>\nhi"], long, characters=1000) is None
