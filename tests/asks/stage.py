"""A server that stops and starts again on the same data at the same address, as an operator would do it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anthropic
import httpx
from anthropic import AsyncAnthropic

from tests.conformance.platform import KEY, LivePlatform, ServerThread, settings_for
from tests.conformance.scene import Scene
from tests.conformance.sse import PATIENCE
from tests.stub_model import StubControl, stub_in_thread

_TIMEOUT = 20.0


class RestartableServer:
    """The whole platform but Ray, in a thread; its model is a stub that outlives it."""

    def __init__(self, data_dir: Path, stub: StubControl, *, port: int = 0) -> None:
        # Turns that hang on the model are left where they are at once: that is what these tests are about.
        self._settings = settings_for(data_dir, stub.url, harness={"drain_seconds": 0.1})
        self.stub = stub
        self._thread: ServerThread | None = ServerThread(self._settings, port=port)
        self.url = self._thread.start()

    @property
    def live(self) -> LivePlatform:
        return LivePlatform(self.url, self.stub)

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    async def restart(self) -> None:
        """Stop in order, and start anew; clients keep the address."""
        await self.end()
        self._thread = ServerThread(self._settings, port=self.port)
        assert await asyncio.to_thread(self._thread.start) == self.url

    async def end(self) -> None:
        """Stop in order, for good; turns stay where they are."""
        thread, self._thread = self._thread, None
        assert thread is not None, "it has ended already"
        await asyncio.to_thread(thread.stop)

    def stop(self) -> None:
        self.stub.release("*")
        if self._thread is not None:
            self._thread.stop()


@contextmanager
def restartable(data_dir: Path) -> Iterator[RestartableServer]:
    with stub_in_thread() as stub, restartable_with(data_dir, stub, 0) as server:
        yield server


@contextmanager
def restartable_with(data_dir: Path, stub: StubControl, port: int) -> Iterator[RestartableServer]:
    """Another server with the model, and at the address, of one that has ended."""
    server = RestartableServer(data_dir, stub, port=port)
    try:
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def scene_at(live: LivePlatform, patience: float = PATIENCE) -> AsyncIterator[Scene]:
    """A scene with clients of its own."""
    headers, timeout = {"authorization": f"Bearer {KEY}"}, max(_TIMEOUT, patience)
    transport = anthropic.DefaultAsyncHttpxClient(verify=False)
    async with (
        httpx.AsyncClient(base_url=live.url, headers=headers, timeout=timeout, verify=False) as http,
        AsyncAnthropic(base_url=live.url, api_key=KEY, max_retries=0, timeout=timeout, http_client=transport) as client,
    ):
        environment = await client.beta.environments.create(name=f"asks-{secrets.token_hex(4)}")
        yield Scene(live, client, http, environment.id, patience)
