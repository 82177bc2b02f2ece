"""Many open streams on a real platform, behind its proxy: every one of them shows everything once and in order.

Bug class this catches: a bound in the proxy, the gateway or the fan-out that a handful of streams never meets.
A thousand of them, with what they cost, are measured by ``benchmarks/bench_streams.py``.
"""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.conformance.platform import LivePlatform
from tests.conformance.scene import Scene, message
from tests.conformance.sse import raw_stream

# The first test waits for the platform; a busy machine takes a minute.
pytestmark = pytest.mark.timeout(300)

STREAMS = 200
SESSIONS = 10


async def test_two_hundred_open_streams_all_show_everything(scene: Scene, platform: LivePlatform) -> None:
    agent = await scene.agent()
    sessions = [await scene.session(agent=agent) for _ in range(SESSIONS)]
    ready = asyncio.Barrier(STREAMS + 1)

    async def watch(http: httpx.AsyncClient, session: str) -> list[str]:
        async with raw_stream(http, f"/v1/sessions/{session}/events/stream") as stream:
            await ready.wait()
            await stream.until("session.status_idle", 2)
            return [event["id"] for event in stream.events if event["processed_at"]]

    async def talk(session: str) -> None:
        for turn in (1, 2):
            await scene.send(session, message("stub: text=hello"))
            await scene.idle(session, turn)

    headers = {"x-api-key": platform.key}
    limits = httpx.Limits(max_connections=STREAMS)
    async with (
        asyncio.timeout(150),
        httpx.AsyncClient(base_url=platform.url, headers=headers, timeout=60, limits=limits) as http,
        asyncio.TaskGroup() as group,
    ):
        watching = [group.create_task(watch(http, sessions[number % SESSIONS])) for number in range(STREAMS)]
        await ready.wait()
        for session in sessions:
            group.create_task(talk(session))
    logs = {session: [event["id"] for event in await scene.log(session)] for session in sessions}
    assert [task.result() for task in watching] == [logs[sessions[number % SESSIONS]] for number in range(STREAMS)]
