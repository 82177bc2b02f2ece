"""The in-memory twin of the Brain port, for tests: it says what it was told to say.

Answers are taken in order, one per request, or made by a function of the request. Inside an answer
a :class:`Hold` stops the stream until its gate opens and a :class:`Fail` breaks it at that point,
also in the middle of a text: ``reply(text("Hel", Hold(gate), "lo"))``.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agents.brains import stream
from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainFailure, BrainRequest, FailureKind
from agents.ids import new_id

DEFAULT_USAGE = TokenUsage(input_tokens=10, output_tokens=5)


@dataclass(frozen=True, slots=True)
class Hold:
    """The stream waits here until *gate* is set."""

    gate: asyncio.Event


@dataclass(frozen=True, slots=True)
class Fail:
    """The request fails here."""

    failure: BrainFailure


@dataclass(frozen=True, slots=True)
class BlockScript:
    """One content block: how it starts and the deltas that follow."""

    start: dict[str, Any]
    steps: tuple[dict[str, Any] | Hold | Fail, ...]


Item = BlockScript | Hold | Fail


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer."""

    items: tuple[Item, ...]
    stop_reason: str
    usage: TokenUsage
    stop_details: dict[str, Any] | None = None


Scripted = Reply | Item | Sequence[Item]


def text(*parts: str | Hold | Fail) -> BlockScript:
    """A text block; each part is one delta."""
    steps = tuple({"type": "text_delta", "text": part} if isinstance(part, str) else part for part in parts)
    return BlockScript({"type": "text", "text": ""}, steps)


def thinking(*parts: str | Hold | Fail, signature: str = "signed") -> BlockScript:
    """A thinking block that ends with its signature."""
    steps = [{"type": "thinking_delta", "thinking": part} if isinstance(part, str) else part for part in parts]
    signed = {"type": "signature_delta", "signature": signature}
    return BlockScript({"type": "thinking", "thinking": "", "signature": ""}, (*steps, signed))


def redacted_thinking(data: str) -> BlockScript:
    return BlockScript({"type": "redacted_thinking", "data": data}, ())


def tool_use(name: str, input: dict[str, Any] | None = None, *, tool_use_id: str | None = None) -> BlockScript:
    """A tool call."""
    return raw_tool_use(name, orjson.dumps(input or {}).decode(), tool_use_id=tool_use_id)


def raw_tool_use(name: str, *arguments: str | Hold | Fail, tool_use_id: str | None = None) -> BlockScript:
    """A tool call whose argument text is given as it is, well-formed or not."""
    steps = [
        {"type": "input_json_delta", "partial_json": part} if isinstance(part, str) else part for part in arguments
    ]
    start: dict[str, Any] = {"type": "tool_use", "id": tool_use_id or new_id("toolu"), "name": name, "input": {}}
    return BlockScript(start, tuple(steps))


def fail(
    kind: FailureKind = "overloaded",
    message: str = "scripted failure",
    *,
    transient: bool = True,
    retry_after: float | None = None,
) -> Fail:
    """A failure at this point: before the first event when nothing precedes it."""
    return Fail(BrainFailure(kind, message, transient=transient, retry_after=retry_after))


def reply(
    *items: Item,
    stop_reason: str | None = None,
    usage: TokenUsage = DEFAULT_USAGE,
    stop_details: dict[str, Any] | None = None,
) -> Reply:
    """An answer; its stop reason follows from its blocks unless given."""
    calls = any(isinstance(item, BlockScript) and item.start["type"] == "tool_use" for item in items)
    return Reply(items, stop_reason or ("tool_use" if calls else "end_turn"), usage, stop_details)


class ScriptedBrain:
    """A brain that follows a script and remembers what it was asked.

    ``requests`` holds a deep copy of each request, ``closed_early`` counts streams whose reader
    left before the end, and :meth:`asked` waits for the n-th request.
    """

    def __init__(self, *answers: Scripted, by: Callable[[BrainRequest], Scripted] | None = None) -> None:
        self._answers = [_as_reply(answer) for answer in answers]
        self._by = by
        self._news = asyncio.Condition()
        self.requests: list[BrainRequest] = []
        self.closed_early = 0

    def add(self, *answers: Scripted) -> None:
        """Append answers to the script."""
        self._answers.extend(_as_reply(answer) for answer in answers)

    async def asked(self, count: int, *, deadline: float = 5.0) -> BrainRequest:
        """Wait until *count* requests came and return that one; raises TimeoutError."""
        async with asyncio.timeout(deadline), self._news:
            await self._news.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        return self._think(request)

    async def _think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        async with self._news:
            self.requests.append(copy.deepcopy(request))
            self._news.notify_all()
        answer = self._next(request)
        finished = False
        try:
            async for event in _play(answer, request.model):
                yield event
            finished = True
        except BrainFailure:
            finished = True
            raise
        finally:
            self.closed_early += not finished

    def _next(self, request: BrainRequest) -> Reply:
        if self._by is not None:
            return _as_reply(self._by(request))
        if not self._answers:
            raise BrainFailure("unknown", "The script has no more answers.", transient=False)
        return self._answers.pop(0)


def _as_reply(answer: Scripted) -> Reply:
    if isinstance(answer, Reply):
        return answer
    return reply(*([answer] if isinstance(answer, BlockScript | Hold | Fail) else answer))


async def _play(answer: Reply, model: str) -> AsyncIterator[dict[str, Any]]:
    items = list(answer.items)
    while items and not isinstance(items[0], BlockScript):
        await _pass(items.pop(0))
    yield stream.message_start(new_id("msg"), model, answer.usage)
    index = 0
    for item in items:
        if not isinstance(item, BlockScript):
            await _pass(item)
            continue
        yield stream.block_start(index, item.start)
        for step in item.steps:
            if isinstance(step, dict):
                yield stream.block_delta(index, step)
            else:
                await _pass(step)
        yield stream.block_stop(index)
        index += 1
    yield stream.message_delta(answer.stop_reason, answer.usage, answer.stop_details)
    yield stream.message_stop()


async def _pass(point: Hold | Fail | BlockScript) -> None:
    if isinstance(point, Hold):
        await point.gate.wait()
    elif isinstance(point, Fail):
        raise point.failure
