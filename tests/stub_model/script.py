"""What the stub can be told to answer, and how that looks as server-sent events.

An answer is a list of content items. A :class:`Point` between items, or inside a text, makes the
stream wait, break or end in an error there. Unknown keys are refused, so that a typing mistake in
a test is an error and not a test that passes for the wrong reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from agents.brains import stream
from agents.brains.assembly import TokenUsage


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Part):
    """Exactly one thing happens here."""

    gate: str | None = None
    """Wait until this gate is released."""
    delay: float | None = None
    """Wait so many seconds."""
    at: float | None = None
    """Wait until so many seconds after the stream began: a model's own pace, whatever sending costs."""
    drop: bool = False
    """Close the connection in mid-stream."""
    error: str | None = None
    """Send an ``error`` event of this type and end."""
    sse: str | None = None
    """Send these characters as they are."""


class Text(_Part):
    type: Literal["text"] = "text"
    text: str | list[str | Point]
    """Each string of a list is one delta."""


class Thinking(_Part):
    type: Literal["thinking"] = "thinking"
    thinking: str
    signature: str = "stub-signature"


class ToolUse(_Part):
    type: Literal["tool_use"] = "tool_use"
    name: str
    input: dict[str, Any] = Field(default_factory=dict)
    id: str | None = None
    arguments: str | None = None
    """Argument text sent instead of ``input``, well-formed or not."""


class Raw(_Part):
    """Any other block, complete in its start event."""

    type: Literal["raw"] = "raw"
    block: dict[str, Any]


Block = Annotated[Text | Thinking | ToolUse | Raw, Field(discriminator="type")]


class Answer(_Part):
    """One scripted answer: a stream, or an error response when ``status`` is given."""

    content: list[Block | Point] = []
    stop_reason: str | None = None
    stop_details: dict[str, Any] | None = None
    usage: dict[str, int] = {}
    """Fields of TokenUsage; input 100 and output 20 by default."""
    delay: float = 0.0
    """Seconds before the response begins."""
    status: int | None = None
    error_type: str = "api_error"
    message: str = "scripted error"
    headers: dict[str, str] = {}

    def token_usage(self) -> TokenUsage:
        return TokenUsage(**{"input_tokens": 100, "output_tokens": 20, **self.usage})

    def reason(self) -> str:
        calls = any(isinstance(item, ToolUse) for item in self.content)
        return self.stop_reason or ("tool_use" if calls else "end_turn")


class Script(_Part):
    """Answers for requests whose body contains ``match`` (a plain ASCII word), in order."""

    match: str = ""
    answers: list[Answer]


def error_body(error_type: str, message: str) -> bytes:
    return orjson.dumps({"type": "error", "error": {"type": error_type, "message": message}, "request_id": "req_stub"})


def frame(event: dict[str, Any]) -> bytes:
    return b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"


def frames(answer: Answer, model: str, serial: int) -> list[bytes | Point]:
    """Encode an answer; neighbouring events are joined, so an answer without points is one piece."""
    pieces: list[bytes | Point] = []
    for piece in _pieces(answer, model, serial):
        if isinstance(piece, bytes) and pieces and isinstance(last := pieces[-1], bytes):
            pieces[-1] = last + piece
        else:
            pieces.append(piece)
    return pieces


def _pieces(answer: Answer, model: str, serial: int) -> Iterator[bytes | Point]:
    usage = answer.token_usage()
    yield frame(stream.message_start(f"msg_stub_{serial}", model, usage))
    index = 0
    for item in answer.content:
        if isinstance(item, Point):
            yield item
            continue
        for part in _block_events(item, index, f"toolu_stub_{serial}_{index}"):
            yield part if isinstance(part, Point) else frame(part)
        index += 1
    yield frame(stream.message_delta(answer.reason(), usage, answer.stop_details))
    yield frame(stream.message_stop())


def _block_events(
    item: Text | Thinking | ToolUse | Raw, index: int, tool_use_id: str
) -> Iterator[dict[str, Any] | Point]:
    if isinstance(item, Text):
        yield stream.block_start(index, {"type": "text", "text": ""})
        for part in [item.text] if isinstance(item.text, str) else item.text:
            yield stream.text_delta(index, part) if isinstance(part, str) else part
    elif isinstance(item, Thinking):
        yield stream.block_start(index, {"type": "thinking", "thinking": "", "signature": ""})
        yield stream.block_delta(index, {"type": "thinking_delta", "thinking": item.thinking})
        yield stream.block_delta(index, {"type": "signature_delta", "signature": item.signature})
    elif isinstance(item, ToolUse):
        start = {"type": "tool_use", "id": item.id or tool_use_id, "name": item.name, "input": {}}
        yield stream.block_start(index, start)
        yield stream.input_delta(index, item.arguments or orjson.dumps(item.input).decode())
    else:
        yield stream.block_start(index, item.block)
    yield stream.block_stop(index)


def whole_message(answer: Answer, model: str, serial: int) -> bytes:
    """The answer to a request without ``stream``; points are passed over."""
    content: list[dict[str, Any]] = []
    for index, item in enumerate(item for item in answer.content if not isinstance(item, Point)):
        if isinstance(item, Text):
            parts = [item.text] if isinstance(item.text, str) else item.text
            content.append({"type": "text", "text": "".join(part for part in parts if isinstance(part, str))})
        elif isinstance(item, ToolUse):
            tool_use_id = item.id or f"toolu_stub_{serial}_{index}"
            content.append({"type": "tool_use", "id": tool_use_id, "name": item.name, "input": item.input})
        elif isinstance(item, Thinking):
            content.append({"type": "thinking", "thinking": item.thinking, "signature": item.signature})
        else:
            content.append(item.block)
    usage = answer.token_usage()
    message = stream.message_start(f"msg_stub_{serial}", model, usage)["message"]
    message |= {"content": content, "stop_reason": answer.reason(), "usage": stream.usage_body(usage)}
    message["usage"]["output_tokens"] = usage.output_tokens
    return orjson.dumps(message)
