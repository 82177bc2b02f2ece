"""A load on hands fetches nodes for hands, one on brains nodes for brains, and both go again (Ray's autoscaler, v2).

Bug class this catches: tools that wake GPU nodes, models that wake CPU nodes, replicas that Ray cannot place although a
node of their kind could be had, more nodes than a group may have, nodes that never go.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic

from agents.config import Settings
from tests.added_hands import hand_body, hand_client
from tests.chaos.cluster import ray_environment
from tests.cluster.autoscaling import FOR_ALL, FOR_THE_HEAD, PART, Fetched, autoscaling
from tests.cluster.instance import Instance
from tests.cluster.ray_head import ray_head
from tests.conformance.platform import KEY, LivePlatform
from tests.conformance.scene import Scene, message, of_type, says
from tests.stub_model import stub_in_thread

HANDS, BRAINS = "hands", "brains"
MOST = 2
"""Nodes of each kind; the load wants one more."""
LOAD = MOST + 1
_SECONDS = 180.0
_LOOK_SECONDS = 0.5


def brain(stub: str) -> Any:
    """A brain with a GPU that exists by name only, one for each request if it can be had."""
    scaling = {"min_replicas": 1, "max_replicas": LOAD, "target_ongoing_requests": 1}
    delays = {"upscale_delay_seconds": 0, "downscale_delay_seconds": 1}
    resources = {"num_cpus": 1, "num_gpus": 1, "labels": {PART: BRAINS}}
    of_all = {"engine": "claude", "base_url": stub, "aliases": ["claude-"]}
    return {**of_all, "resources": resources, "scaling": scaling | delays}


async def until(nodes: Fetched, *, more_wanted: bool = False, **wanted: int) -> None:
    """Wait for so many nodes of each kind; with *more_wanted*, until no more come although there is need of them."""
    found = Counter[str]()
    try:
        async with asyncio.timeout(_SECONDS):
            while (found := await asyncio.to_thread(nodes.now)) != wanted or (
                more_wanted and not await asyncio.to_thread(nodes.at_their_bound)
            ):
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"there are {found}; wanted: {wanted}") from None


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_hands_and_brains_fetch_nodes_of_their_own_kind_and_give_them_back(tmp_path: Path) -> None:
    environment = ray_environment(Settings(data_dir=tmp_path / "unused")) | FOR_ALL | {"RAY_AUTH_MODE": "disabled"}
    kinds = {HANDS: {"CPU": 1}, BRAINS: {"CPU": 1, "GPU": 1}}

    def more(port: int) -> list[str]:
        return autoscaling(tmp_path / "autoscaling.json", port, kinds, MOST)

    with (
        stub_in_thread() as stub,
        ray_head(environment | FOR_THE_HEAD, cpus=2, more=more) as head,
    ):
        joining = environment | {"RAY_ADDRESS": f"127.0.0.1:{head.port}"}
        options: Any = {"brains": {"main": brain(stub.url)}, "sandbox": {"warm": 0}}
        instance = Instance(tmp_path / "data", stub.url, environment=joining, **options)
        try:
            url = await asyncio.to_thread(instance.up, _SECONDS)
            await _loads(LivePlatform(url, stub), Fetched(head), tmp_path / "release")
        finally:
            stub.release("*")
            status = await asyncio.to_thread(instance.down)
        assert status == 0, instance.output()


async def _loads(platform: LivePlatform, nodes: Fetched, release: Path) -> None:
    assert nodes.ever() == {BRAINS: 1}, "the brain that is always there has fetched its node, and nothing else has"
    calls = await _on_hands(platform, nodes, release)
    sessions = await _on_brains(platform, nodes)
    assert calls == [f"held {number}" for number in range(LOAD)]
    assert sessions == ["end_turn"] * LOAD


async def _on_hands(platform: LivePlatform, nodes: Fetched, release: Path) -> list[str]:
    """Hold more calls than there may be nodes for; returns their answers."""
    definition: Any = {"concurrency": 1, "max_replicas": LOAD, "idle_seconds": 1, "deadline_seconds": _SECONDS}
    definition["resources"] = {"num_cpus": 1, "labels": {PART: HANDS}}
    definition["runtime_env"] = {"env_vars": {"HELD_UNTIL": str(release)}}
    code = Path(__file__).with_name("held_hand.py").read_text()
    async with httpx.AsyncClient(base_url=platform.url, headers={"x-api-key": KEY}, timeout=_SECONDS) as api:
        added = await api.post("/-/hands", json=hand_body("held", code, **definition))
        assert added.status_code == 200, added.text
    async with hand_client(f"{platform.url}/hands/held/mcp", KEY, timeout=_SECONDS) as client:
        calls = [asyncio.create_task(client.call_tool("hold", {"number": number})) for number in range(LOAD)]
        await until(nodes, brains=1, hands=MOST, more_wanted=True)
        release.touch()
        answers = await asyncio.gather(*calls)
    assert nodes.ever() == {BRAINS: 1, HANDS: MOST}, "hands touch no node of brains, and keep to their bound"
    return [answer.content[0].model_dump()["text"] for answer in answers]


async def _on_brains(platform: LivePlatform, nodes: Fetched) -> list[str]:
    """Hold more model requests than there may be nodes for; returns why the sessions stopped."""
    async with (
        AsyncAnthropic(base_url=platform.url, api_key=platform.key, timeout=_SECONDS) as client,
        httpx.AsyncClient(base_url=platform.url, headers={"x-api-key": KEY}, timeout=_SECONDS) as http,
    ):
        environment = await client.beta.environments.create(name="of brains")
        scene = Scene(platform, client, http, environment.id)
        await scene.answers(*[says(["half ", scene.gate("go"), "rest"])] * LOAD)
        agent = await scene.agent()
        sessions = [await scene.session(agent=agent) for _ in range(LOAD)]
        for session in sessions:
            await scene.send(session, message())
        # Nobody calls the hand any more, so its nodes go while those of brains come.
        await until(nodes, brains=MOST, more_wanted=True)
        await scene.release("go")
        logs = [await scene.idle(session) for session in sessions]
    await until(nodes, brains=1)
    assert nodes.ever() == {BRAINS: MOST, HANDS: MOST}, "brains fetch no node for hands, and keep to their bound"
    return [of_type(log, "session.status_idle")[-1]["stop_reason"]["type"] for log in logs]
