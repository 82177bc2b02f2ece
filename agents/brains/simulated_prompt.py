"""The prompt of a request as a simulated GPU reads it: how many tokens, in parts that later prompts may begin with.

A user's message may stand for a longer conversation than it holds, so that a recorded load is replayed with its lengths
though not its words: ``[simulate input_tokens=4000 output_tokens=250]`` anywhere in its text. Results of tools are data
and say nothing of the kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import orjson

from agents.brains.chunks import Key, chunk_key
from agents.brains.counting import CHARACTERS_PER_TOKEN
from agents.brains.port import BrainRequest, texts_in
from agents.brains.prefix_cache import PromptPart
from agents.brains.summarizing import asks_for_summary

_MARK = re.compile(r"\[simulate(?: input_tokens=(?P<input>\d{1,9}))?(?: output_tokens=(?P<output>\d{1,9}))?\]")


def marker(*, input_tokens: int = 0, output_tokens: int = 0) -> str:
    """Return what a user's message says to be read, and answered in the end, with so many tokens more than its text."""
    return f"[simulate input_tokens={input_tokens} output_tokens={output_tokens}]"


def prompt_parts(request: BrainRequest) -> list[PromptPart]:
    """Return the prompt: system prompt with tools, then each message.

    Without markers its tokens are those that ``agents.brains.counting.estimate`` counts.
    """
    parts: list[PromptPart] = []
    key: Key | None = None
    characters, counted = 1, 0
    for content, more in _contents(request):
        # With the commas and brackets that the whole would have; of less than a token nothing is lost but the last.
        characters += len(content) + 1
        tokens = characters // CHARACTERS_PER_TOKEN - counted
        counted += tokens
        key = chunk_key(key, content)
        parts.append(PromptPart(key, tokens + more))
    return parts


def simulated_output(request: BrainRequest) -> int:
    """Return how many tokens more than its text the answer takes that ends the turn, by the user's newest message.

    It says so of its own answer, not of a summary in which it is quoted.
    """
    if asks_for_summary(request):
        return 0
    for message in reversed(request.messages):
        if message["role"] == "user" and (texts := texts_in(message["content"])):
            return _marked(texts, "output")
    return 0


def _contents(request: BrainRequest) -> Iterator[tuple[bytes, int]]:
    """Each part's content, and the tokens that it stands for beyond it."""
    yield orjson.dumps([request.system, request.tools]), 0
    for message in request.messages:
        more = _marked(texts_in(message["content"]), "input") if message["role"] == "user" else 0
        yield orjson.dumps(message), more


def _marked(texts: Iterable[str], what: Literal["input", "output"]) -> int:
    return sum(int(mark[what] or 0) for text in texts for mark in _MARK.finditer(text))
