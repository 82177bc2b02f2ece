"""From a stream of Messages-API events to one finished answer.

The assembler is pure and incremental: it is fed event dicts one by one, tells what each of them
changed (for live previews), and at the end hands over the blocks, the usage and the stop reason.
Invariant: block *n* of the answer is the block that the stream called index *n*, and an answer
exists only when ``message_stop`` was seen; half an answer never exists (law 7 of the design).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Literal, cast

import orjson

from agents.brains.port import BrainFailure
from agents.brains.route import ROUTE, Route

BlockKind = Literal["text", "thinking", "tool_use"]

_KINDS: dict[str, BlockKind] = {
    "text": "text",
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "tool_use": "tool_use",
}
_SHOWN_OF_BAD_INPUT = 200
_CUT_OFF = frozenset({"max_tokens", "model_context_window_exceeded"})
"""Why an answer may have ended before the model was done."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one model request; the five counts never overlap."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_5m: int = 0
    cache_creation_1h: int = 0

    @property
    def total(self) -> int:
        """Tokens read and written."""
        return sum(astuple(self))

    def wire(self) -> dict[str, int]:
        """Return the counts as events tell them (``model_usage``)."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_creation_input_tokens": self.cache_creation_5m + self.cache_creation_1h,
            "cache_read_input_tokens": self.cache_read_input_tokens,
        }

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(*map(operator.add, astuple(self), astuple(other)))


class UsageCount:
    """The usage that a stream reports in parts: they are cumulative, so the newest of each count holds."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, usage: dict[str, Any] | None) -> None:
        """Take over the counts that are present."""
        counts = usage or {}
        nested = counts.get("cache_creation")
        created = cast("dict[str, Any]", nested) if isinstance(nested, dict) else {}
        self._counts.update({key: value for key, value in (counts | created).items() if isinstance(value, int)})

    def see(self, event: dict[str, Any]) -> None:
        """Take over what an event of a stream reports; a server's nonsense counts as nothing."""
        match event:
            case {"type": "message_start", "message": {"usage": {} as usage}}:
                self.add(usage)
            case {"type": "message_delta", "usage": {} as usage}:
                self.add(usage)
            case _:
                pass

    @property
    def total(self) -> TokenUsage:
        known = self._counts
        created = known.get("cache_creation_input_tokens", 0)
        hour = known.get("ephemeral_1h_input_tokens", 0)
        return TokenUsage(
            input_tokens=known.get("input_tokens", 0),
            output_tokens=known.get("output_tokens", 0),
            cache_read_input_tokens=known.get("cache_read_input_tokens", 0),
            cache_creation_5m=known.get("ephemeral_5m_input_tokens", max(0, created - hour)),
            cache_creation_1h=hour,
        )


@dataclass(frozen=True, slots=True)
class Block:
    """One finished content block.

    ``raw`` is the API block to send back to the model. A tool call whose arguments are not a JSON
    object has ``input`` None and says why in ``input_error``; its ``raw`` then carries ``{}``.
    ``tool_use_id`` is the model's id of a tool call. Redacted thinking is ``thinking`` without text.
    """

    kind: BlockKind
    raw: dict[str, Any]
    text: str = ""
    name: str = ""
    tool_use_id: str = ""
    input: dict[str, Any] | None = None
    input_error: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete model answer."""

    blocks: list[Block]
    stop_reason: str
    stop_details: dict[str, Any] | None
    usage: TokenUsage
    route: Route | None = None


@dataclass(frozen=True, slots=True)
class BlockStarted:
    index: int
    kind: BlockKind


@dataclass(frozen=True, slots=True)
class TextDelta:
    """New text of a text block (never of thinking or of tool arguments)."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class BlockStopped:
    index: int


Change = BlockStarted | TextDelta | BlockStopped


@dataclass(slots=True)
class _Draft:
    kind: BlockKind
    start: dict[str, Any]
    parts: list[str] = field(default_factory=lambda: [])
    signature: str = ""
    open: bool = True


class AnswerAssembler:
    """Builds one :class:`Answer`."""

    def __init__(self) -> None:
        self.route: Route | None = None
        """Who answers; None when the stream was not routed."""
        self._begin()
        self._steps: dict[str, Callable[[dict[str, Any]], Sequence[Change]]] = {
            "message_start": self._on_message_start,
            "content_block_start": self._on_block_start,
            "content_block_delta": self._on_block_delta,
            "content_block_stop": self._on_block_stop,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_message_stop,
        }

    def _begin(self) -> None:
        self._drafts: list[_Draft] = []
        self._started = False
        self._stopped = False
        self._stop_reason: str | None = None
        self._stop_details: dict[str, Any] | None = None
        self._usage = UsageCount()

    @property
    def usage(self) -> TokenUsage:
        """What the stream has reported so far; also meaningful for a request that fails midway."""
        return self._usage.total

    def feed(self, event: dict[str, Any]) -> Sequence[Change]:
        """Take one event and return what it changed; event types it does not know change nothing.

        Raises BrainFailure when the event breaks the protocol.
        """
        kind = str(event.get("type"))
        if kind == ROUTE:
            # Another brain takes over: nothing was shown of what the one before it began.
            self.route = event["route"]
            self._begin()
            return ()
        step = self._steps.get(kind)
        if step is None:
            return ()
        if self._stopped or not (self._started or kind == "message_start"):
            raise _nonsense(f"{kind} outside of a message")
        try:
            return step(event)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _nonsense(f"malformed {kind} ({error!r})") from error

    def finish(self) -> Answer:
        """Return the answer; raises BrainFailure when the stream ended too early."""
        if not self._stopped or self._stop_reason is None:
            raise _nonsense("it ended before the answer was complete")
        cut_off = self._drafts[-1] if self._drafts and self._stop_reason in _CUT_OFF else None
        return Answer(
            blocks=[_block(draft, cut_off=draft is cut_off) for draft in self._drafts],
            stop_reason=self._stop_reason,
            stop_details=self._stop_details,
            usage=self.usage,
            route=self.route,
        )

    def _on_message_start(self, event: dict[str, Any]) -> Sequence[Change]:
        if self._started:
            raise _nonsense("a second message_start")
        self._started = True
        self._usage.add(event["message"].get("usage"))
        return ()

    def _on_block_start(self, event: dict[str, Any]) -> Sequence[Change]:
        index, block = event["index"], event["content_block"]
        if index != len(self._drafts):
            raise _nonsense(f"block {index} started out of order")
        kind = _KINDS.get(_text(block["type"]))
        if kind is None:
            raise BrainFailure(
                "request_failed", f"The model answered with an unsupported block: {block['type']}", transient=False
            )
        for name in ("id", "name", "data", "signature"):
            _text(block.get(name) or "")
        draft = _Draft(kind, block, signature=block.get("signature") or "")
        self._drafts.append(draft)
        started = BlockStarted(index, kind)
        opening = block.get(kind) if kind != "tool_use" else None
        if not opening:
            return (started,)
        draft.parts.append(_text(opening))
        return (started, TextDelta(index, opening)) if kind == "text" else (started,)

    def _on_block_delta(self, event: dict[str, Any]) -> Sequence[Change]:
        index, delta = event["index"], event["delta"]
        draft = self._open_draft(index)
        kind: str = draft.kind
        match (delta["type"], kind):
            case "text_delta", "text":
                text = _text(delta["text"])
                draft.parts.append(text)
                return (TextDelta(index, text),) if text else ()
            case "input_json_delta", "tool_use":
                draft.parts.append(_text(delta["partial_json"]))
            case "thinking_delta", "thinking":
                draft.parts.append(_text(delta["thinking"]))
            case "signature_delta", "thinking":
                draft.signature = _text(delta["signature"])
            case ("text_delta" | "input_json_delta" | "thinking_delta" | "signature_delta") as wrong, _:
                raise _nonsense(f"{wrong} for a block of kind {kind}")
            case _:
                pass  # citations and whatever the API adds later: not part of what we keep
        return ()

    def _on_block_stop(self, event: dict[str, Any]) -> Sequence[Change]:
        index = event["index"]
        self._open_draft(index).open = False
        return (BlockStopped(index),)

    def _on_message_delta(self, event: dict[str, Any]) -> Sequence[Change]:
        delta = event["delta"]
        self._stop_reason = _text(delta.get("stop_reason") or "") or self._stop_reason
        self._stop_details = delta.get("stop_details") or self._stop_details
        self._usage.add(event.get("usage"))
        return ()

    def _on_message_stop(self, event: dict[str, Any]) -> Sequence[Change]:
        if self._stop_reason is None or any(draft.open for draft in self._drafts):
            raise _nonsense("message_stop before the answer was complete")
        self._stopped = True
        return ()

    def _open_draft(self, index: int) -> _Draft:
        if not 0 <= index < len(self._drafts) or not self._drafts[index].open:
            raise _nonsense(f"block {index} is not open")
        return self._drafts[index]


def _text(value: object) -> str:
    """Return *value*, which the protocol says is a string. Raises TypeError when it is none."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a string")
    return value


def _block(draft: _Draft, *, cut_off: bool) -> Block:
    text = "".join(draft.parts)
    if draft.kind == "text":
        return Block("text", {"type": "text", "text": text}, text=text)
    if draft.kind == "tool_use":
        return _tool_use(draft.start, text, cut_off=cut_off)
    if draft.start["type"] == "redacted_thinking":
        return Block("thinking", {"type": "redacted_thinking", "data": draft.start.get("data") or ""})
    return Block("thinking", {"type": "thinking", "thinking": text, "signature": draft.signature}, text=text)


def _tool_use(start: dict[str, Any], arguments: str, *, cut_off: bool) -> Block:
    parsed: dict[str, Any] | None = start.get("input") or {}
    problem: str | None = None
    if arguments.strip():
        parsed, problem = _parse_input(arguments)
    elif cut_off and not parsed:
        # Nothing says that it was meant to have none.
        parsed, problem = None, "The answer was cut off before it was written"
    name, tool_use_id = start.get("name") or "", start.get("id") or ""
    raw = {"type": "tool_use", "id": tool_use_id, "name": name, "input": {} if parsed is None else parsed}
    return Block("tool_use", raw, name=name, tool_use_id=tool_use_id, input=parsed, input_error=problem)


def _parse_input(arguments: str) -> tuple[dict[str, Any] | None, str | None]:
    shown = arguments if len(arguments) <= _SHOWN_OF_BAD_INPUT else arguments[:_SHOWN_OF_BAD_INPUT] + "..."
    try:
        parsed: Any = orjson.loads(arguments)
    except orjson.JSONDecodeError as error:
        return None, f"The tool input is not valid JSON ({error}): {shown}"
    if not isinstance(parsed, dict):
        return None, f"The tool input must be a JSON object: {shown}"
    return cast(dict[str, Any], parsed), None


def _nonsense(what: str) -> BrainFailure:
    return BrainFailure("request_failed", f"The model's stream broke the protocol: {what}", transient=True)
