"""Reading an event stream as it is on the wire, with a deadline on every wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from tests.conformance.wire_check import check_event

PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class SseFrame:
    """One frame: the SSE name, the id line if any, and the JSON object."""

    name: str
    id: str | None
    data: dict[str, Any]


class RawStream:
    """An open stream. ``frames`` and ``comments`` keep all that was read so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.frames: list[SseFrame] = []
        self.comments: list[str] = []
        self._parts = self._parse()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [frame.data for frame in self.frames]

    @property
    def types(self) -> list[str]:
        return [frame.data["type"] for frame in self.frames]

    async def _parse(self) -> AsyncGenerator[SseFrame | str, None]:
        fields: dict[str, str] = {}
        async for line in self._lines():
            if line.startswith(":"):
                yield line[1:].strip()
            elif line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif fields:
                yield SseFrame(fields["event"], fields.get("id"), orjson.loads(fields["data"]))
                fields = {}

    async def _lines(self) -> AsyncGenerator[str, None]:
        # Not the client's own reading by lines: that one also splits at U+2028, which JSON text may hold.
        held = b""
        async for chunk in self.response.aiter_bytes():
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                yield line.decode()

    async def _part(self, timeout: float) -> SseFrame | str:
        async with asyncio.timeout(timeout):
            part = await anext(self._parts)
        if isinstance(part, str):
            self.comments.append(part)
        else:
            self.frames.append(part)
            if part.name != "error":
                assert part.name == part.data["type"]
                check_event(part.data)
        return part

    async def next(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """Return the next event. Raises StopAsyncIteration at the end, TimeoutError."""
        while True:
            part = await self._part(timeout)
            if isinstance(part, SseFrame):
                return part.data

    async def comment(self, timeout: float = PATIENCE) -> str:
        """Return the next comment line."""
        while True:
            part = await self._part(timeout)
            if isinstance(part, str):
                return part

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Read until *count* more events of a type came; returns the last of them."""
        while True:
            event = await self.next()
            count -= event["type"] == kind
            if not count:
                return event

    async def rest(self) -> list[dict[str, Any]]:
        """Read to the end of the body; returns what came."""
        seen = len(self.frames)
        while True:
            try:
                await self.next()
            except StopAsyncIteration:
                return self.events[seen:]


@asynccontextmanager
async def raw_stream(
    http: httpx.AsyncClient, path: str, params: Any = None, headers: dict[str, str] | None = None
) -> AsyncIterator[RawStream]:
    """Open a stream; raises AssertionError when the answer is not one."""
    async with http.stream("GET", path, params=params, headers=headers) as response:
        if response.status_code != 200:
            raise AssertionError(f"{response.status_code}: {await response.aread()!r}")
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["request-id"].startswith("req_")
        stream = RawStream(response)
        async with aclosing(stream._parts):
            yield stream
