"""A client of one event stream, speaking ASGI directly: every step waits for bytes, never for time."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import orjson
from api_fakes import Server

DEADLINE = 5.0


class Frames:
    """An open stream: parsed frames as they come, and the hang-up."""

    def __init__(
        self,
        server: Server,
        path: str,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        *,
        post: dict[str, Any] | None = None,
    ) -> None:
        self._post = b"" if post is None else orjson.dumps(post)
        self._scope: dict[str, Any] = {
            "type": "http",
            "method": "GET" if post is None else "POST",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(query or {}, doseq=True).encode(),
            "headers": [(key.encode(), value.encode()) for key, value in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
        }
        self._server = server
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._hung_up = asyncio.Event()
        self._asked = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.comments: list[str] = []
        self.ended = False
        self.task: asyncio.Task[None] | None = None

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._post, "more_body": False}
        await self._hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.gate.wait()
        await self._messages.put(message)

    async def __aenter__(self) -> Frames:
        self.task = asyncio.create_task(self._server.app(self._scope, self._receive, self._send))  # type: ignore[arg-type]
        start = await self._next()
        self.status = start["status"]
        self.headers = {key.decode(): value.decode() for key, value in start["headers"]}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def hang_up(self) -> None:
        self._hung_up.set()
        self.gate.set()
        assert self.task is not None
        async with asyncio.timeout(DEADLINE):
            await self.task

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            return await self._messages.get()

    async def body(self) -> bytes:
        """Return the next chunk; empty at the end of the body."""
        message = await self._next()
        self.ended = not message.get("more_body", False)
        return message.get("body", b"")

    async def take(self, count: int) -> list[dict[str, Any]]:
        """Return the next *count* frames as ``{event, id, data}``."""
        frames: list[dict[str, Any]] = []
        while len(frames) < count:
            chunk = await self.body()
            assert not self.ended, frames
            frames += self._parse(chunk)
        assert len(frames) == count
        return frames

    async def rest(self) -> list[dict[str, Any]]:
        """Return all frames until the body ends."""
        frames: list[dict[str, Any]] = []
        while not self.ended:
            frames += self._parse(await self.body())
        return frames

    def _parse(self, chunk: bytes) -> list[dict[str, Any]]:
        frames: list[dict[str, Any]] = []
        for block in chunk.decode().split("\n\n")[:-1]:
            if block.startswith(":"):
                self.comments.append(block)
                continue
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            frames.append({"event": fields["event"], "id": fields.get("id"), "data": orjson.loads(fields["data"])})
        return frames
