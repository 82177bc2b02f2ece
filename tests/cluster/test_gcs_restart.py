"""Ray's own control service (GCS) dies alone while sessions run, and is started again: what it knew is in Redis.

Bug class this catches: a step of a turn that asks Ray for something and hangs while nobody answers; parts that Ray does
not know any more afterwards, and would not start again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from anthropic import AsyncAnthropic

from tests.chaos.cluster import ray_environment
from tests.cluster.conversations import PATIENCE, load
from tests.cluster.instance import Instance
from tests.cluster.lasting_head import LastingHead, lasting_head
from tests.conformance.platform import LivePlatform, settings_for
from tests.conformance.scene import Scene
from tests.stub_model import stub_in_thread

pytestmark = pytest.mark.timeout(600)
_LOOK_SECONDS = 0.2
HARNESS = "ray::HarnessActor"


@pytest.fixture
def head(tmp_path: Path) -> Iterator[LastingHead]:
    environment = ray_environment(settings_for(tmp_path / "unused", "")) | {"RAY_AUTH_MODE": "disabled"}
    # Nodes wait so long for a GCS; by default a minute, which sessions can take on a busy machine.
    environment["RAY_gcs_rpc_server_reconnect_timeout_s"] = f"{2 * PATIENCE:.0f}"
    with lasting_head(environment) as made:
        yield made


@pytest.fixture
async def scene(head: LastingHead, tmp_path: Path) -> AsyncIterator[Scene]:
    with stub_in_thread(keep=4000) as stub:
        joining = head.environment | {"RAY_ADDRESS": f"127.0.0.1:{head.gcs}"}
        harness = {"actors": 2, "lease_ttl_seconds": 3}
        instance = Instance(tmp_path / "data", stub.url, environment=joining, harness=harness, sandbox={"warm": 0})
        try:
            url = await asyncio.to_thread(instance.up, PATIENCE)
            platform = LivePlatform(url, stub)
            async with (
                AsyncAnthropic(base_url=url, api_key=platform.key, max_retries=5, timeout=60) as client,
                httpx.AsyncClient(base_url=url, headers={"x-api-key": platform.key}, timeout=60) as http,
            ):
                environment = await client.beta.environments.create(name="without GCS")
                yield Scene(platform, client, http, environment.id)
        finally:
            status = await asyncio.to_thread(instance.down)
        assert status == 0, instance.output()


async def test_sessions_begin_and_go_on_while_the_gcs_is_dead_and_ray_knows_its_actors_afterwards(
    head: LastingHead, scene: Scene
) -> None:
    async with load(scene, reconnects=True) as busy:
        dead = await asyncio.to_thread(head.kill_gcs)
        async with load(scene):
            await busy.turns(1)
        await asyncio.to_thread(head.start_gcs, dead)
        await busy.turns(1)
        [one, *others] = head.running(HARNESS)
        one.kill()
        await _until_there(head, len(others) + 1, besides=one)
        await busy.turns(1)


async def _until_there(head: LastingHead, count: int, *, besides: psutil.Process) -> None:
    """Wait until so many harnesses run, not counting the one that was killed."""
    async with asyncio.timeout(PATIENCE):
        while len([each for each in head.running(HARNESS) if each != besides]) < count:
            await asyncio.sleep(_LOOK_SECONDS)
