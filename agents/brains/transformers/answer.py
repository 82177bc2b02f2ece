"""From the tokens of one answer to the events of a Messages-API stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from agents.brains import stream
from agents.brains.assembly import TokenUsage
from agents.brains.transformers.detokenizer import Detokenizer
from agents.brains.transformers.parser import AnswerParser
from agents.brains.transformers.pieces import CallArguments, CallEnded, CallStarted, Piece, Said, Thought
from agents.ids import new_id

_Words = Literal["text", "thinking"]
_DELTA: dict[_Words, str] = {"text": "text_delta", "thinking": "thinking_delta"}


class AnswerWriter:
    """Writes one answer; ``ended`` once the model has said in words that its turn is over."""

    def __init__(self, detokenizer: Detokenizer, parser: AnswerParser, *, model: str, input_tokens: int) -> None:
        self._detokenizer = detokenizer
        self._parser = parser
        self._blocks = BlockWriter()
        self._model = model
        self._input_tokens = input_tokens
        self._output_tokens = 0

    @property
    def ended(self) -> bool:
        return self._parser.ended

    def start(self) -> dict[str, Any]:
        """The opening event."""
        return stream.message_start(new_id("msg"), self._model, self._usage)

    def take(self, tokens: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Return the events that more tokens make; those after the end of the turn count for nothing."""
        for token in tokens:
            if self.ended:
                return
            self._output_tokens += 1
            yield from self._parse(self._detokenizer.feed([token]))

    def finish(self, cut_by: str | None) -> Iterator[dict[str, Any]]:
        """Return the events that close the answer; *cut_by* is why it was cut off, if it was."""
        if cut_by is None and not self.ended:
            self._output_tokens += 1  # the token that ends the turn
        yield from self._parse(self._detokenizer.finish())
        for piece in self._parser.finish():
            yield from self._blocks.write(piece)
        yield from self._blocks.close()
        by_model = "tool_use" if self._blocks.has_calls else "end_turn"
        yield stream.message_delta(cut_by or by_model, self._usage)
        yield stream.message_stop()

    @property
    def _usage(self) -> TokenUsage:
        return TokenUsage(input_tokens=self._input_tokens, output_tokens=self._output_tokens)

    def _parse(self, text: str) -> Iterator[dict[str, Any]]:
        for piece in self._parser.feed(text):
            yield from self._blocks.write(piece)


class BlockWriter:
    """Makes the events of an answer's blocks; ``has_calls`` once there was a call of a tool.

    Blank space around a text or a thought is dropped: it only separates them from their marks.
    """

    def __init__(self) -> None:
        self._index = -1
        self._open: _Words | None = None
        self._blank = ""
        self.has_calls = False

    def write(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """Return the events that tell one more piece."""
        match piece:
            case Said(text):
                yield from self._words("text", text)
            case Thought(text):
                yield from self._words("thinking", text)
            case CallStarted(name):
                yield from self.close()
                self.has_calls = True
                yield self._start({"type": "tool_use", "id": new_id("toolu"), "name": name, "input": {}})
            case CallArguments(text):
                yield stream.input_delta(self._index, text)
            case CallEnded():
                yield stream.block_stop(self._index)

    def close(self) -> Iterator[dict[str, Any]]:
        """End the block of words that is open, if any."""
        if self._open is not None:
            yield stream.block_stop(self._index)
        self._open, self._blank = None, ""

    def _words(self, kind: _Words, text: str) -> Iterator[dict[str, Any]]:
        if self._open != kind:
            yield from self.close()
            text = text.lstrip()
        if not text:
            return
        if self._open is None:
            self._open = kind
            yield self._start({"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {}))
        text = self._blank + text
        said = text.rstrip()
        self._blank = text[len(said) :]
        if said:
            yield stream.block_delta(self._index, {"type": _DELTA[kind], kind: said})

    def _start(self, block: dict[str, Any]) -> dict[str, Any]:
        self._index += 1
        return stream.block_start(self._index, block)
