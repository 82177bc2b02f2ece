"""Ways to run the stub: inside the test's own event loop, in a thread, or as a process (``__main__``)."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from tests.stub_model.app import StubModel


@dataclass(frozen=True, slots=True)
class RunningStub:
    """A stub in this event loop: its address and, directly, its state."""

    url: str
    model: StubModel


class StubControl:
    """Remote control of a stub that runs elsewhere, for synchronous tests and benchmarks."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=70)

    def script(self, *answers: dict[str, Any], match: str = "") -> None:
        """Queue answers for requests whose body contains *match*."""
        self._post("/_script", {"match": match, "answers": answers})

    def release(self, gate: str) -> None:
        self._post("/_release", {"gate": gate})

    def reset(self) -> None:
        self._post("/_reset", {})

    def seen(self, count: int = 0, *, closed: int = 0, match: str = "", timeout: float = 5.0) -> list[dict[str, Any]]:
        """Wait until so many requests came, so many closed early; raises TimeoutError."""
        query: dict[str, str | float] = {"count": count, "closed": closed, "match": match, "timeout": timeout}
        answer = self._http.get("/_requests", params=query)
        if answer.status_code == 408:
            raise TimeoutError(answer.text)
        return answer.raise_for_status().json()

    def close(self) -> None:
        self._http.close()

    def _post(self, path: str, body: Any) -> None:
        answer = self._http.post(path, json=body)
        if answer.is_error:
            raise ValueError(answer.text)


def make_server(model: StubModel, *, log_level: str = "critical") -> uvicorn.Server:
    config = uvicorn.Config(
        model, lifespan="off", log_level=log_level, access_log=False, timeout_graceful_shutdown=1, backlog=4096
    )
    return uvicorn.Server(config)


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Bind at once, so that the address is known and connections queue before the server accepts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: asyncio turns off Nagle's algorithm only then, which else holds answers for 40 ms.
    server = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, port))
    server.listen(4096)
    return server


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


@asynccontextmanager
async def running_stub(keep: int = 1000) -> AsyncIterator[RunningStub]:
    """Run a stub in the current event loop."""
    model, listener = StubModel(keep), listen()
    server = make_server(model)
    # The server's signal handlers belong to the test runner here.
    task = asyncio.create_task(server._serve([listener]))
    try:
        yield RunningStub(address(listener), model)
    finally:
        server.should_exit = True
        model.release("*")
        await task


@contextmanager
def stub_in_thread(keep: int = 1000) -> Iterator[StubControl]:
    """Run a stub in a thread of its own."""
    listener = listen()
    server = make_server(StubModel(keep))
    thread = threading.Thread(target=server.run, args=([listener],), name="stub-model", daemon=True)
    thread.start()
    control = StubControl(address(listener))
    try:
        yield control
    finally:
        control.release("*")
        control.close()
        server.should_exit = True
        thread.join(timeout=5)


def answers(*texts: str) -> Sequence[dict[str, Any]]:
    """Plain text answers, the most common script."""
    return [{"content": [{"type": "text", "text": text}]} for text in texts]
