"""Rule mode: the conversation itself says what the stub answers, so any number of sessions can run.

A line such as ``stub: tools=1 parallel=4 rounds=5 command="true" text="ok" delay=0.01`` in the
newest user text (or else in the first one) means: in every turn five answers with four tool calls
each, then the text. What the stub answers is a function of the request alone.

    tools=N     rounds with tool calls in each turn (default 0)
    rounds=N    the same, and wins over tools; with parallel alone there is one round
    parallel=N  tool calls in each round (default 1)
    tool=NAME   the tool that is called (default bash)
    command=C   the call's input is {"command": C} (default true)
    input=JSON  the call's whole input
    text=T      the text that ends the turn (default ok)
    chars=N     repeat the text up to N characters
    chunks=N    deltas the text is cut into (default 1)
    gap=S       seconds between those deltas
    first=S     seconds from the opening event to the first of them
    rate=N      deltas a second, by the clock from the opening event on
    delay=S     seconds before each answer begins
    thinking=T  a thinking block that opens each answer
"""

from __future__ import annotations

import shlex
from functools import lru_cache
from typing import Any

import orjson

from tests.stub_model.script import Answer, Point, Text, Thinking, ToolUse

MARK = "stub:"
_NUMBERS = {"tools", "rounds", "parallel", "chars", "chunks"}
_FRACTIONS = {"gap", "delay", "first", "rate"}
_WORDS = {"tool", "command", "input", "text", "thinking"}


def place(messages: list[dict[str, Any]]) -> tuple[str, int]:
    """Return the directive that holds now ("" for none) and the answers given since the newest user text."""
    answered = 0
    for message in reversed(messages):
        if message["role"] == "assistant":
            answered += 1
        elif (text := _text(message)) is not None:
            return (_directive(text) or _directive(_text(messages[0]) or "")), answered
    return "", answered


@lru_cache(maxsize=4096)
def rule_answer(directive: str, answered: int) -> Answer:
    """The answer number *answered* of a turn; raises ValueError for a directive it does not know."""
    options = parse(directive)
    delay = float(options.get("delay", 0))
    opening: list[Any] = [Thinking(thinking=options["thinking"])] if "thinking" in options else []
    if answered < _rounds(options):
        arguments = (
            orjson.loads(options["input"]) if "input" in options else {"command": options.get("command", "true")}
        )
        calls = [
            ToolUse(name=options.get("tool", "bash"), input=arguments) for _ in range(int(options.get("parallel", 1)))
        ]
        return Answer(content=opening + calls, delay=delay)
    return Answer(content=[*opening, Text(text=_chunks(options))], delay=delay)


def parse(directive: str) -> dict[str, str]:
    """Split a directive into its options; raises ValueError for one it does not know or cannot read."""
    options: dict[str, str] = {}
    for word in shlex.split(directive):
        name, given, value = word.partition("=")
        if not given or name not in _NUMBERS | _FRACTIONS | _WORDS:
            raise ValueError(f"unknown stub directive: {word}")
        if name in _NUMBERS:
            int(value)
        if name in _FRACTIONS:
            float(value)
        options[name] = value
    return options


def _rounds(options: dict[str, str]) -> int:
    if "rounds" in options:
        return int(options["rounds"])
    return int(options.get("tools", 1 if "parallel" in options else 0))


def _chunks(options: dict[str, str]) -> list[str | Point]:
    text = options.get("text", "ok")
    if "chars" in options:
        size = int(options["chars"])
        text = (text * (size // max(1, len(text)) + 1))[:size]
    count = min(max(1, int(options.get("chunks", 1))), max(1, len(text)))
    width = -(-len(text) // count)
    gap, first = float(options.get("gap", 0)), float(options.get("first", 0))
    rate = float(options.get("rate", 0))
    parts: list[str | Point] = []
    for number, start in enumerate(range(0, len(text), width)):
        if first and not number:
            parts.append(Point(at=first))
        elif rate and number:
            parts.append(Point(at=first + number / rate))
        elif gap and number:
            parts.append(Point(delay=gap))
        parts.append(text[start : start + width])
    return parts


def _text(message: dict[str, Any]) -> str | None:
    content = message["content"]
    if isinstance(content, str):
        return content
    texts = [block["text"] for block in content if block["type"] == "text"]
    return "\n".join(texts) if texts else None


def _directive(text: str) -> str:
    _, found, rest = text.partition(MARK)
    return rest.partition("\n")[0].strip() if found else ""
