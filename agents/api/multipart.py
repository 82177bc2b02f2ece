"""``multipart/form-data`` (RFC 7578), read part by part: no part is ever whole in memory.

Starlette's own form parser writes files to temporary files first; here whoever asks gets the bytes as they come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from agents.errors import InvalidRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_PARTS = 1000
_MAX_FIELD_BYTES = 64 * 1024
_BROKEN = "the body is not valid multipart/form-data"


@dataclass(slots=True)
class PartHead:
    """What stands before the bytes of a part."""

    name: str = ""
    filename: str | None = None
    """None: the part is a field of the form. May be a path, and may be anything: its sender chose it."""
    content_type: str | None = None


@dataclass(slots=True)
class _Tokens:
    """What the parser has found and nobody has taken yet: heads, pieces of bytes, ends (None)."""

    found: deque[PartHead | bytes | None] = field(default_factory=lambda: deque())
    is_over: bool = False
    _parts: int = 0
    _head: PartHead = field(default_factory=PartHead)
    _name: bytes = b""
    _value: bytes = b""

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self.found.append(bytes(data[start:end])),
            "on_part_end": lambda: self.found.append(None),
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": lambda: self.found.append(self._head),
            "on_end": self._over,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise InvalidRequest(f"the body has more than {_MAX_PARTS} parts")
        self._head = PartHead()

    def _over(self) -> None:
        self.is_over = True

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        name, value = self._name.lower(), self._value
        self._name = self._value = b""
        if name == b"content-disposition":
            options = parse_options_header(value)[1]
            self._head.name = _text(options.get(b"name", b""))
            filename = options.get(b"filename")
            self._head.filename = None if filename is None else _text(filename)
        elif name == b"content-type":
            self._head.content_type = _text(value).strip() or None


class Part:
    """One part, while it is being read."""

    def __init__(self, head: PartHead, pieces: AsyncIterator[bytes]) -> None:
        self.name = head.name
        self.filename = head.filename
        self.content_type = head.content_type
        self.pieces = pieces
        """Its bytes as they come; to be read, if at all, before the next part is asked for."""

    async def text(self) -> str:
        """Return the value of a field. Raises InvalidRequest for a long one, or one that is no text."""
        value = b""
        async for piece in self.pieces:
            value += piece
            if len(value) > _MAX_FIELD_BYTES:
                raise InvalidRequest(f"{self.name[:60]}: must have at most {_MAX_FIELD_BYTES} bytes")
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"{self.name[:60]}: must be UTF-8 text") from None


class _Reader:
    """Reads a body until there is something to take."""

    def __init__(self, request: Request, boundary: bytes) -> None:
        self.tokens = _Tokens()
        self._parser = MultipartParser(boundary, self.tokens.callbacks())
        self._stream = request.stream()

    async def more(self) -> None:
        """Parse what comes next. Raises InvalidRequest for the end of the body, or for what is no form."""
        try:
            self._parser.write(await anext(self._stream))
        except StopAsyncIteration:
            raise InvalidRequest(f"{_BROKEN}: it ends too early") from None
        except FormParserError as error:
            raise InvalidRequest(f"{_BROKEN}: {error}") from None

    async def head(self) -> PartHead | None:
        """Return the next part's head; None when there is none, and then the body has been read to its end."""
        while not self.tokens.found and not self.tokens.is_over:
            await self.more()
        if not self.tokens.found:
            async for _ in self._stream:
                pass  # what follows the last part is nothing, or no part
            return None
        head = self.tokens.found.popleft()
        assert isinstance(head, PartHead), "a part begins with its head"
        return head

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield the bytes of the part whose head was taken."""
        while True:
            while not self.tokens.found:
                await self.more()
            token = self.tokens.found.popleft()
            if token is None:
                return
            assert isinstance(token, bytes), "a head comes only after the end before it"
            yield token


async def parts_of(request: Request) -> AsyncGenerator[Part]:
    """Yield the parts of a request's form, in their order. Raises InvalidRequest for a body that is none."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise InvalidRequest("content-type: must be multipart/form-data with a boundary")
    reader = _Reader(request, boundary)
    while (head := await reader.head()) is not None:
        mine = reader.pieces()
        yield Part(head, mine)
        async for _ in mine:
            pass  # what nobody wanted


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
