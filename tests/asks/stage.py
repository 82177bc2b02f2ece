"""A server that stops and starts again on the same data at the same address, as an operator would do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anthropic
import httpx
from anthropic import AsyncAnthropic

from tests.conformance.platform import KEY, LivePlatform, ServerThread, settings_for
from tests.conformance.scene import Scene
from tests.stub_model import StubControl, stub_in_thread

_TIMEOUT = 20.0


class RestartableServer:
    """The whole platform but Ray, in a thread; its model is a stub that outlives it."""

    def __init__(self, data_dir: Path, stub: StubControl) -> None:
        # Turns that hang on the model are left where they are at once: that is what these tests are about.
        self._settings = settings_for(data_dir, stub.url, harness={"drain_seconds": 0.1})
        self._stub = stub
        self._thread = ServerThread(self._settings)
        self.url = self._thread.start()

    @property
    def live(self) -> LivePlatform:
        return LivePlatform(self.url, self._stub)

    async def restart(self) -> None:
        """Stop in order, and start anew; clients keep the address."""
        await asyncio.to_thread(self._thread.stop)
        self._thread = ServerThread(self._settings, port=httpx.URL(self.url).port or 0)
        assert await asyncio.to_thread(self._thread.start) == self.url

    def stop(self) -> None:
        self._stub.release("*")
        self._thread.stop()


@contextmanager
def restartable(data_dir: Path) -> Iterator[RestartableServer]:
    with stub_in_thread() as stub:
        server = RestartableServer(data_dir, stub)
        try:
            yield server
        finally:
            server.stop()


@asynccontextmanager
async def scene_at(live: LivePlatform) -> AsyncIterator[Scene]:
    """A scene with clients of its own."""
    headers = {"authorization": f"Bearer {KEY}"}
    transport = anthropic.DefaultAsyncHttpxClient(verify=False)
    async with (
        httpx.AsyncClient(base_url=live.url, headers=headers, timeout=_TIMEOUT, verify=False) as http,
        AsyncAnthropic(
            base_url=live.url, api_key=KEY, max_retries=0, timeout=_TIMEOUT, http_client=transport
        ) as client,
    ):
        environment = await client.beta.environments.create(name="asks")
        yield Scene(live, client, http, environment.id)
