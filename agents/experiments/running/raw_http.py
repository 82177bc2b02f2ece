"""A small HTTP/1.1 client for measuring: it shares the measured machine's cores, so it must cost almost nothing.

It speaks just what the platform answers (content-length or chunked bodies, keep-alive) and checks no
more than it needs; a request that is not answered with 2xx raises ``Refused``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

WAIT_SECONDS = 60.0
_NO_HEADERS: Mapping[str, str] = {}


class Refused(Exception):
    """An answer other than 2xx, or a connection that ended early (``status`` 0)."""

    def __init__(self, message: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        """Seconds after which the server says that it may be asked again."""


class Connection(asyncio.Protocol):
    """One keep-alive connection; ``body`` collects the decoded body of the answer under way."""

    def __init__(self, host: str) -> None:
        self._host = host.encode()
        self._transport: asyncio.Transport | None = None
        self._raw = bytearray()
        self._left = -1
        """Bytes of the body (or chunk) that are still to come; -1 while headers are read."""
        self._chunked = False
        self.body = bytearray()
        self.status = 0
        self.complete = False
        self.lost = False
        self._retry_after: float | None = None
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no asyncio class.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        self._raw += data
        if self._left < 0 and not self._read_head():
            return
        if self._chunked:
            self._read_chunks()
        else:
            self._take(self._left)
            self.complete = self._left == 0
        self._changed.set()

    def _read_head(self) -> bool:
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._raw[:end]).lower()
        del self._raw[: end + 4]
        self.status = int(head[9:12])
        self._chunked = b"transfer-encoding: chunked" in head
        wait = _header(head, b"retry-after")
        self._retry_after = float(wait) if wait.replace(b".", b"", 1).isdigit() else None
        self._left = 0
        if not self._chunked:
            self._left = int(_header(head, b"content-length") or 0)
        return True

    def _take(self, most: int) -> None:
        part = self._raw[:most]
        self.body += part
        del self._raw[: len(part)]
        self._left -= len(part)

    def _read_chunks(self) -> None:
        while self._raw and not self.complete:
            if self._left > 2:
                part = self._raw[: self._left - 2]
                self.body += part
                del self._raw[: len(part)]
                self._left -= len(part)
            if 0 < self._left <= 2:
                dropped = min(self._left, len(self._raw))
                del self._raw[:dropped]
                self._left -= dropped
            elif self._left == 0:
                end = self._raw.find(b"\r\n")
                if end < 0:
                    return
                size = int(bytes(self._raw[:end]), 16)
                del self._raw[: end + 2]
                self.complete = size == 0
                self._left = size + 2  # with the line end that follows a chunk

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """Write a request; the previous answer must be complete."""
        assert self._transport is not None
        self._raw.clear()
        self.body = bytearray()
        self._left, self.complete, self.status = -1, False, 0
        head = f"{method} {path} HTTP/1.1\r\nhost: ".encode() + self._host
        if body or method == "POST":
            head += b"\r\ncontent-type: application/json\r\ncontent-length: " + str(len(body)).encode()
        for name, value in headers.items():
            head += f"\r\n{name}: {value}".encode()
        self._transport.write(head + b"\r\n\r\n" + body)

    async def change(self) -> None:
        """Wait until something came in. Raises Refused when the connection ended."""
        if self.lost:
            raise Refused("the connection was closed")
        self._changed.clear()
        await self._changed.wait()

    async def answer(self) -> bytes:
        """Return the body of a complete answer. Raises Refused, TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.complete:
                await self.change()
        self._check()
        return bytes(self.body)

    async def stream_open(self) -> None:
        """Wait for the first part of a stream. Raises Refused, TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.body:
                if self.complete:
                    break
                await self.change()
        self._check()

    async def until(self, mark: bytes, start: int = 0, *, seconds: float = WAIT_SECONDS) -> int:
        """Wait for *mark* in the stream's body from *start* on; returns the position behind it."""
        async with asyncio.timeout(seconds):
            while (found := self.body.find(mark, start)) < 0:
                start = max(start, len(self.body) - len(mark))
                await self.change()
        return found + len(mark)

    def _check(self) -> None:
        if not 200 <= self.status < 300:
            raise Refused(f"{self.status}: {bytes(self.body[:300])!r}", self.status, self._retry_after)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _header(head: bytes, name: bytes) -> bytes:
    """Return a header's value in a lower-cased *head*; empty without one."""
    return head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()


async def connect(url: str) -> Connection:
    """Open a connection to the server of *url*. Raises OSError."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: Connection(parts.netloc), parts.hostname or "", parts.port or 80
    )
    return connection


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """Parse the complete events of a stream's body."""
    blocks = stream.split(b"\n\n")[:-1]
    found = [block.partition(b"data: ")[2] for block in blocks if b"data: " in block]
    return [orjson.loads(data) for data in found]
