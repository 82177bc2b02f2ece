"""What benchmarks ask of the platform, over the small client for measuring."""

from __future__ import annotations

import secrets
import time
from typing import Any

import orjson

from agents.experiments.running.platform_api import message
from agents.experiments.running.raw_http import Connection, connect

IDLE = b"event: session.status_idle\n"


class Api:
    """What a benchmark asks of the platform, over one connection for requests."""

    def __init__(self, url: str, connection: Connection) -> None:
        self.url = url
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> Api:
        return cls(url, await connect(url))

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        self._connection.ask("POST", path, body if isinstance(body, bytes) else orjson.dumps(body))
        return orjson.loads(await self._connection.answer())

    async def get(self, path: str) -> dict[str, Any]:
        self._connection.ask("GET", path)
        return orjson.loads(await self._connection.answer())

    async def set_up(self) -> bytes:
        """Create an agent with the built-in tools and an environment; returns the body that creates a session."""
        tools = [{"type": "agent_toolset_20260401"}]
        agent = await self.post("/v1/agents", {"name": "bench", "model": "claude-opus-4-6", "tools": tools})
        environment = await self.post(
            "/v1/environments", {"name": f"bench-{secrets.token_hex(6)}", "config": {"type": "cloud"}}
        )
        return orjson.dumps({"agent": agent["id"], "environment_id": environment["id"]})

    async def new_session(self, body: bytes) -> str:
        self._connection.ask("POST", "/v1/sessions", body)
        answer = await self._connection.answer()
        return answer.partition(b'"id":"')[2].partition(b'"')[0].decode()

    async def send(self, session_id: str, body: bytes) -> None:
        self._connection.ask("POST", f"/v1/sessions/{session_id}/events", body)
        await self._connection.answer()

    async def stream(self, session_id: str) -> Connection:
        stream = await connect(self.url)
        stream.ask("GET", f"/v1/sessions/{session_id}/events/stream")
        await stream.stream_open()
        return stream

    async def one_session(self, body: bytes, message: bytes) -> float:
        """Create a session, open its stream, send *message*, read to idle; returns the seconds it took."""
        started = time.perf_counter()
        session_id = await self.new_session(body)
        stream = await self.stream(session_id)
        try:
            await self.send(session_id, message)
            await stream.until(IDLE)
        finally:
            stream.close()
        return time.perf_counter() - started

    def close(self) -> None:
        self._connection.close()


def user_message(text: str) -> bytes:
    """The body of an event POST with one user message."""
    return orjson.dumps(message(text))
