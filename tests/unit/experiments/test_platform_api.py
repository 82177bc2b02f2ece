"""The experiments' client is as patient as the official SDK, and counts how often it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from agents.experiments.running.platform_api import MOST_RETRIES, PlatformApi
from agents.experiments.running.raw_http import Refused

OVERLOADED = b"HTTP/1.1 529 Overloaded\r\nretry-after: 3\r\ncontent-length: 2\r\n\r\n{}"
INVALID = b"HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\n{}"
GOOD = b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"n": 1}'


class Server:
    """Gives its answers one after the other, and the last one for ever; None hangs up."""

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = list(answers)
        self.heads: list[str] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await self._head(reader):
            self.heads.append(head)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if answer is None:
                break
            writer.write(answer)
        writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> str:
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return ""


@asynccontextmanager
async def asking(server: Server, pauses: list[float]) -> AsyncGenerator[PlatformApi]:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    api = PlatformApi(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", "k", sleep=sleep)
    try:
        yield api
    finally:
        api.close()
        listening.close()


async def test_a_server_that_is_overloaded_is_asked_again_when_it_says() -> None:
    server, pauses = Server(OVERLOADED, GOOD), list[float]()
    async with asking(server, pauses) as api:
        assert await api.ask("GET", "/") == (b'{"n": 1}', 1)
    assert pauses == [3.0]
    assert "authorization: Bearer k" in server.heads[0]
    assert "x-stainless-retry-count: 1" in server.heads[1]


async def test_a_lost_connection_is_made_anew_after_a_pause_that_grows() -> None:
    server, pauses = Server(None, None, GOOD), list[float]()
    async with asking(server, pauses) as api:
        assert await api.get("/") == {"n": 1}
    assert [0.375 <= pauses[0] <= 0.5, 0.75 <= pauses[1] <= 1.0] == [True, True]


@pytest.mark.parametrize(("answer", "asked", "status"), [(OVERLOADED, MOST_RETRIES + 1, 529), (INVALID, 1, 400)])
async def test_what_stays_refused_or_is_wrong_is_told(answer: bytes, asked: int, status: int) -> None:
    server, pauses = Server(answer), list[float]()
    async with asking(server, pauses) as api:
        with pytest.raises(Refused) as refused:
            await api.get("/")
    assert refused.value.status == status
    assert len(server.heads) == asked


async def test_a_connection_is_used_again() -> None:
    server = Server(GOOD)
    async with asking(server, []) as api:
        for _ in range(3):
            await api.get("/")
    assert server.connections == 1
