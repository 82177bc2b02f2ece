"""The server's name in the first bytes of a TLS connection (RFC 8446, RFC 6066), without taking part in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MOST_BYTES = 16 * 1024
"""A longer greeting is no client's."""
_START = b"\x16\x03"
"""A handshake, of any version of TLS."""
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HEAD_BYTES = 4


class Greeting(Enum):
    """What the bytes so far are, when they are not a whole greeting."""

    UNFINISHED = "unfinished"
    NOT_TLS = "not TLS"


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A whole greeting; ``server_name`` is None when the client names no server."""

    server_name: str | None


def read_hello(data: bytes) -> ClientHello | Greeting:
    """Read the first bytes that a client sent."""
    body = bytearray()
    rest = memoryview(data)
    while True:
        if bytes(rest[:2]) not in (b"", _START[:1], _START):
            return Greeting.NOT_TLS
        if len(rest) < 5 or len(rest) < 5 + (size := int.from_bytes(rest[3:5], "big")):
            return Greeting.UNFINISHED
        body += rest[5 : 5 + size]
        rest = rest[5 + size :]
        if body and body[0] != _CLIENT_HELLO:
            return Greeting.NOT_TLS
        if len(body) >= _HEAD_BYTES and len(body) >= _HEAD_BYTES + int.from_bytes(body[1:4], "big"):
            try:
                return ClientHello(_server_name(_Reader(bytes(body[_HEAD_BYTES:]))))
            except (ValueError, UnicodeDecodeError):
                return Greeting.NOT_TLS


class _Reader:
    """Takes fields off the front; raises ValueError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data):
            raise ValueError("cut off")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def field(self, size: int) -> _Reader:
        """Take what has its length before it, in *size* bytes."""
        return _Reader(self.take(self.number(size)))

    def text(self, size: int) -> str:
        return self.take(self.number(size)).decode("ascii")


def _server_name(hello: _Reader) -> str | None:
    hello.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session id, cipher suites, compression
        hello.field(size)
    extensions = hello.field(2) if hello else _Reader(b"")
    found: list[str] = []
    while extensions:
        kind, content = extensions.number(2), extensions.field(2)
        if kind == _SERVER_NAME:
            names = content.field(2)
            while names:
                names.take(1)
                found.append(names.text(2))
    if len(found) > 1:
        raise ValueError("names two servers")
    return found[0] if found else None
