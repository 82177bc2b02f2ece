"""A tool call as it is generated: ``{"name": ..., "arguments": {...}}`` and the closing mark.

When the name comes first, as nearly always, the arguments are passed on while they are generated; any other form
is read whole. Nothing is repaired: arguments that are no JSON object are passed on as they are, and whoever
assembles the answer tells the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import orjson

from agents.brains.transformers.pieces import CallArguments, CallEnded, CallStarted, Piece, held_back
from agents.brains.transformers.template import CALL_END

NAMELESS = "malformed_tool_call"
"""The name of a call in which none can be found: no tool has it, so the model is told that there is no such tool."""
LONGEST_HEAD = 512
"""Characters of the opening and the name; after more of them it is another form (names have at most 128)."""

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]+)"')


class ToolCallReader:
    """Reads one call. ``rest`` is what follows it once ``closed``."""

    def __init__(self) -> None:
        self._text = ""
        self._scan: _ObjectScan | None = None
        self._is_form_known = False
        self.closed = False
        self.rest = ""

    def feed(self, text: str) -> Iterator[Piece]:
        """Take more of the text; may be called until ``closed``."""
        self._text += text
        if not self._is_form_known:
            yield from self._head()
        if self._scan is not None:
            yield from self._arguments(self._scan)
        elif self._is_form_known or CALL_END in self._text:
            yield from self._whole()

    def finish(self) -> Iterator[Piece]:
        """The text ended within the call."""
        if self._scan is None:
            yield from _read_whole(self._text)
            return
        if not self._scan.complete and self._text:
            yield CallArguments(self._text)
        yield CallEnded()

    def _head(self) -> Iterator[Piece]:
        head = _HEAD.match(self._text)
        if head is not None:
            self._scan = _ObjectScan()
            self._text = self._text[head.end() :]
            yield CallStarted(_name_of(head[1]))
        self._is_form_known = head is not None or len(self._text) > LONGEST_HEAD

    def _arguments(self, scan: _ObjectScan) -> Iterator[Piece]:
        if not scan.complete:
            end = scan.advance(self._text)
            if end:
                yield CallArguments(self._text[:end])
            self._text = self._text[end:]
        # What stands between the arguments and the mark is the brace of the call, or noise.
        if (scan.complete or scan.interrupted) and CALL_END in self._text:
            self._close()
            yield CallEnded()

    def _whole(self) -> Iterator[Piece]:
        if CALL_END in self._text:
            body = self._text[: self._text.index(CALL_END)]
            self._close()
            yield from _read_whole(body)

    def _close(self) -> None:
        self.rest = self._text.partition(CALL_END)[2]
        self._text = ""
        self.closed = True


class _ObjectScan:
    """Finds the end of a JSON object, or the closing mark that comes before it.

    The mark counts only outside of strings, or anywhere once a string is broken (JSON allows no line break in one).
    """

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._is_broken = False
        self.complete = False
        self.interrupted = False

    def advance(self, text: str) -> int:
        """Return how many characters belong to the object; those that are left must be offered again."""
        for place, character in enumerate(text):
            if character == "<" and (self._is_broken or not self._in_string) and self._is_mark(text[place:]):
                return place
            self._take(character)
            if self.complete:
                return place + 1
        return len(text)

    def _is_mark(self, rest: str) -> bool:
        self.interrupted = rest.startswith(CALL_END)
        return self.interrupted or held_back(rest, CALL_END) == len(rest)

    def _take(self, character: str) -> None:
        if self._in_string:
            self._is_broken = self._is_broken or character == "\n"
            self._in_string = character != '"' or self._escaped
            self._escaped = character == "\\" and not self._escaped
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            self.complete = self._depth == 0


def _name_of(quoted: str) -> str:
    try:
        return str(orjson.loads(quoted))
    except orjson.JSONDecodeError:
        return quoted.strip('"')


def _read_whole(body: str) -> Iterator[Piece]:
    try:
        call: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        call = None
    if isinstance(call, dict) and isinstance(name := cast("dict[str, Any]", call).get("name"), str) and name:
        yield from _call(name, _arguments_of(cast("dict[str, Any]", call)))
    else:
        found = _NAME.search(body)
        yield from _call(found[1] if found else NAMELESS, body.strip())


def _arguments_of(call: dict[str, Any]) -> str:
    arguments = call.get("arguments", call.get("parameters"))
    if arguments is None:
        return "{}"
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


def _call(name: str, arguments: str) -> Iterator[Piece]:
    yield CallStarted(name)
    if arguments:
        yield CallArguments(arguments)
    yield CallEnded()
