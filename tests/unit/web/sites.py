"""A web of its own on loopback: pages by host and path, as names that only the guard's resolver knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

from agents.net.guard import Guard


@dataclass(frozen=True)
class Answer:
    body: bytes = b""
    content_type: str = "text/html"
    status: str = "200 OK"
    headers: Sequence[str] = ()


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Sites:
    """What the server answers, and what it was asked."""

    port: int = 0
    answer: Callable[[Request], Answer | Awaitable[Answer]] = lambda request: Answer(status="404 Not Found")
    requests: list[Request] = field(default_factory=list)

    def url(self, host: str, path: str = "/") -> str:
        return f"http://{host}:{self.port}{path}"

    def pages(self, pages: dict[str, Answer]) -> None:
        """Answer by ``host/path``."""

        def answer(request: Request) -> Answer:
            host = request.headers["host"].rpartition(":")[0]
            return pages.get(host + request.target, Answer(status="404 Not Found"))

        self.answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(method, target, headers, body)
        self.requests.append(request)
        answer = self.answer(request)
        if not isinstance(answer, Answer):
            answer = await answer
        lines = [f"HTTP/1.1 {answer.status}", f"Content-Length: {len(answer.body)}", *answer.headers]
        if answer.content_type:
            lines.append(f"Content-Type: {answer.content_type}")
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + answer.body)
        try:
            await writer.drain()
        except ConnectionError:
            pass  # a reader that has had enough
        finally:
            writer.close()


async def everywhere(host: str, port: int) -> Sequence[str]:
    """Resolve every name to this machine, but for one that is in the operator's network."""
    return ["10.9.8.7"] if host.startswith("intranet") else ["127.0.0.1"]


GUARD = Guard((ip_network("127.0.0.0/8"),), resolver=everywhere)


@asynccontextmanager
async def serving() -> AsyncIterator[Sites]:
    sites = Sites()
    listener = await asyncio.start_server(sites.serve, "127.0.0.1", 0)
    sites.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield sites
