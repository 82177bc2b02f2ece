"""A self-hosted environment on the stage: its key, a worker's directory, and what workers ask by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.lib.environments import EnvironmentWorker

from agents.workers.worker import token_of
from tests.conformance.scene import Json, Scene, message, of_type, toolset
from tests.conformance.sse import PATIENCE


class Site:
    """A self-hosted environment, its key, and what a worker host has: a directory and a client without an API key."""

    def __init__(self, scene: Scene, environment_id: str, key: Json, workdir: Path) -> None:
        self.scene = scene
        self.id = environment_id
        self.key: str = key["key"]
        self.key_id: str = key["id"]
        self.workdir = workdir

    @property
    def work(self) -> str:
        return f"/v1/environments/{self.id}/work"

    def client(self, credential: str | None = None) -> AsyncAnthropic:
        return AsyncAnthropic(
            base_url=self.scene.platform.url, api_key=None, auth_token=credential or self.key, max_retries=0
        )

    def worker(self, **options: Any) -> EnvironmentWorker:
        options = {"workdir": self.workdir, "max_idle": 0.2, **options}
        client = AsyncAnthropic(base_url=self.scene.platform.url, api_key="not a key of this server")
        work = client.beta.environments.work
        return work.worker(environment_id=self.id, environment_key=self.key, **options)

    @asynccontextmanager
    async def serving(self, count: int = 1, **options: Any) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Run so many workers, until the block ends or they fail."""
        tasks = [asyncio.create_task(self.worker(**options).run()) for _ in range(count)]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError, anthropic.APIStatusError):
                    await task

    async def session(self, *tools: Json) -> str:
        return await self.scene.session(*(tools or (toolset(),)), environment_id=self.id)

    async def take(self) -> tuple[Json, Holder]:
        """Claim and acknowledge by hand; returns the item and a client that has its token."""
        (item,) = await self.poll()
        token = token_of(item["secret"])
        assert token is not None
        await self.ask("POST", f"{self.work}/{item['id']}/ack")
        return item, Holder(self, token)

    async def poll(self, **params: Any) -> list[Json]:
        found = await self.ask("GET", f"{self.work}/poll", params={"block_ms": 999, **params})
        return [] if found is None else [found]

    async def ask(self, method: str, path: str, credential: str | None = None, status: int = 200, **more: Any) -> Any:
        """Ask with the environment's key or another credential; the answer must have this status."""
        headers = {"authorization": f"Bearer {credential or self.key}", "anthropic-worker-id": "by-hand"}
        answer = await self.scene.http.request(method, path, headers=headers, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def turn(self, session_id: str) -> list[Json]:
        """Send a message and wait for the end of its turn, however often it waits for the worker; returns its log."""
        before = await self.scene.log(session_id)
        await self.scene.send(session_id, message())
        async with asyncio.timeout(PATIENCE):
            count = len(of_type(before, "session.status_idle"))
            while True:
                count += 1
                log = await self.scene.idle(session_id, count)
                if of_type(log, "session.status_idle")[-1]["stop_reason"]["type"] == "end_turn":
                    return log[len(before) :]

    async def items(self) -> list[Json]:
        return (await self.scene.get(self.work))["data"]

    async def until(self, state: str) -> Json:
        """Wait until the newest item is in a state."""
        async with asyncio.timeout(PATIENCE):
            while (found := await self.items())[:1] == [] or found[0]["state"] != state:
                await asyncio.sleep(0.02)
        return found[0]


class Holder:
    """What the holder of one item's token asks."""

    def __init__(self, site: Site, token: str) -> None:
        self.site = site
        self.token = token

    async def beat(self, work_id: str, expected: str, status: int = 200) -> Json:
        path, params = f"{self.site.work}/{work_id}/heartbeat", {"expected_last_heartbeat": expected}
        return await self.site.ask("POST", path, self.token, status, params=params)


@pytest.fixture
async def site(scene: Scene, tmp_path: Path) -> Site:
    made = await scene.client.beta.environments.create(name=f"racks {scene.mark}", config={"type": "self_hosted"})
    key = (await scene.http.post(f"/v1/environments/{made.id}/keys", json={"name": "rack 1"})).json()
    return Site(scene, made.id, key, tmp_path)


def results_of(log: list[Json]) -> list[Json]:
    return of_type(log, "user.tool_result")


async def patiently(wait: Callable[[], Awaitable[list[Json]]], seconds: float) -> list[Json]:
    """Wait again and again, for as long as processes may take to start."""
    async with asyncio.timeout(seconds):
        while True:
            with suppress(TimeoutError):
                return await wait()
