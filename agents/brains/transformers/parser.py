"""Generated text, as it comes, to what it says: words, thoughts, calls of tools.

Nothing is passed on that could still turn out to be the beginning of a mark, and nothing else is held back.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from agents.brains.transformers.pieces import Piece, Said, Thought, held_back
from agents.brains.transformers.template import CALL_START, THINKING_END, THINKING_START, TURN_END
from agents.brains.transformers.tool_calls import ToolCallReader


class AnswerParser:
    """Reads one answer; ``ended`` once the model has said in words that its turn is over."""

    def __init__(self, *, thinking: bool, tools: bool, is_thinking: bool = False, turn_ends: bool = False) -> None:
        """*thinking* and *tools* say whether their marks mean anything, *is_thinking* that the prompt ended in the
        opening mark, *turn_ends* that the template's end of a turn is no token of the model's and must be read."""
        self._marks = [mark for mark, counts in ((THINKING_START, thinking), (CALL_START, tools)) if counts]
        self._ends = [TURN_END] if turn_ends else []
        self._thinks: bool = thinking and is_thinking
        self._call: ToolCallReader | None = None
        self._text = ""
        self.ended = False

    def feed(self, text: str) -> Iterator[Piece]:
        """Take more of the text. What comes after the end of the turn is dropped."""
        self._text += text
        moved = True
        while moved and self._text and not self.ended:
            if self._call is not None:
                moved = yield from self._read_call(self._call)
            else:
                moved = yield from self._read_words()

    def finish(self) -> Iterator[Piece]:
        """The text is over: pass on what was held back."""
        if self._call is not None:
            yield from self._call.finish()
        elif self._text and not self.ended:
            yield self._words(self._text)
        self._text = ""

    def _read_call(self, call: ToolCallReader) -> Generator[Piece, None, bool]:
        text, self._text = self._text, ""
        yield from call.feed(text)
        if call.closed:
            self._text, self._call = call.rest, None
        return call.closed

    def _read_words(self) -> Generator[Piece, None, bool]:
        marks = [*([THINKING_END] if self._thinks else self._marks), *self._ends]
        place, mark = _first(self._text, marks)
        end = place if mark else len(self._text) - held_back(self._text, *marks)
        if end:
            yield self._words(self._text[:end])
        self._text = self._text[end + len(mark) :]
        self._thinks = mark == THINKING_START or (self._thinks and mark != THINKING_END)
        self._call = ToolCallReader() if mark == CALL_START else None
        self.ended = mark == TURN_END
        return bool(mark)

    def _words(self, text: str) -> Piece:
        return Thought(text) if self._thinks else Said(text)


def _first(text: str, marks: Sequence[str]) -> tuple[int, str]:
    """The place of the first mark in a text, and which; an empty one when there is none."""
    found = [(place, mark) for mark in marks if (place := text.find(mark)) >= 0]
    return min(found, default=(len(text), ""))
