"""The monolith: the same API and the same log from one replica, also when that replica is killed.

Bug class this catches: a gateway that does not find the owner in a Serve replica, sessions that nobody takes up after
its death, sandboxes that are lost with it, a slot that a turn keeps for ever, a process that outlives ``down``.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest
from anthropic import AsyncAnthropic

from agents.hands.incarnation import host_root
from agents.hands.stand_in import traversable_root
from agents.seat import MONOLITH, seat_name
from tests.cluster.instance import Instance, running
from tests.conformance.platform import LivePlatform, settings_for
from tests.conformance.scene import (
    END,
    REQUEST,
    START,
    Json,
    Scene,
    bash,
    calls,
    message,
    of_type,
    ordered_results,
    says,
    text_of,
    toolset,
)
from tests.stub_model import StubControl

# The first test waits for the platform; a busy machine takes a minute.
pytestmark = pytest.mark.timeout(240)
NAME = seat_name(MONOLITH, 0)
PATIENCE = 120.0
"""A replica that is killed is started again in a few seconds; on a busy machine in many."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A monolith with one slot."""

    instance: Instance
    platform: LivePlatform

    @property
    def replica(self) -> psutil.Process:
        (found,) = [
            each for each in self.instance.processes() if "ServeReplica:hecaton-mono" in " ".join(each.cmdline())
        ]
        return found

    def lose_files(self) -> None:
        """Remove what its sandbox host has on disk."""
        shutil.rmtree(traversable_root(host_root(settings_for(self.instance.data_dir, ""), NAME)))


@pytest.fixture(scope="module")
def ground(stub: StubControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    data_dir = tmp_path_factory.mktemp("monolith") / "data"
    with running(
        data_dir, stub, topology="monolith", monolith={"turns": 1}, gateway={"owner_wait_seconds": PATIENCE}
    ) as made:
        yield Ground(made, LivePlatform(made.url, stub))


@pytest.fixture
async def stage(ground: Ground) -> AsyncIterator[Scene]:
    platform = ground.platform
    async with (
        AsyncAnthropic(base_url=platform.url, api_key=platform.key, max_retries=0, timeout=PATIENCE) as client,
        httpx.AsyncClient(base_url=platform.url, headers={"x-api-key": platform.key}, timeout=PATIENCE) as http,
    ):
        environment = await client.beta.environments.create(name=f"monolith-{id(client):x}")
        yield Scene(platform, client, http, environment.id)


async def test_a_turn_with_tools_has_the_log_it_has_elsewhere_and_gives_its_slot_back(
    ground: Ground, stage: Scene
) -> None:
    await stage.answers(calls(bash("echo one")), says("done"), says("mine"))
    session = await stage.session(toolset())
    log = await stage.turn(session)
    start, said, end = REQUEST
    assert [event["type"] for event in log] == [
        *[*START, "user.message", start, "agent.tool_use", end, "agent.tool_result"],
        *[start, said, end, *END],
    ]
    assert text_of(ordered_results(log)[0]) == "one"
    ready = await stage.get("/-/readyz")
    assert (ready["ready"], list(ready["harness"]), list(ready["sandboxes"])) == (True, [NAME], [NAME])
    assert ready["brains"]["default@1"]["state"] == "RUNNING"
    figures = ready["harness"][NAME]
    assert (figures["turn_slots"], figures["turn_slots_held"], figures["turns_waiting"]) == (1, 0, 0)
    answer = await stage.client.messages.create(
        model="claude-any", max_tokens=50, messages=[{"role": "user", "content": f"Scene {stage.mark}."}]
    )
    assert answer.content[0].type == "text"


async def test_a_killed_replica_takes_no_session_with_it(ground: Ground, stage: Scene) -> None:
    """One session is in the middle of a tool, one waits for the slot, and one has left files in its sandbox."""
    await stage.answers(calls(bash("echo kept > f")), says("written"))
    keeper = await stage.session(toolset())
    await stage.turn(keeper)
    await stage.answers(calls(bash("sleep 60")), says("went on"), says("at last"), calls(bash("cat f")), says("read"))
    acting = await stage.session(toolset())
    await stage.send(acting, message())
    await stage.until(acting, "agent.tool_use")
    waiting = await stage.session(toolset())
    await stage.send(waiting, message())
    ground.replica.kill()
    await asyncio.to_thread(ground.lose_files)
    log = await _idle(stage, acting)
    (result,) = ordered_results(log)
    assert result["is_error"] and "may have taken effect" in text_of(result), "nobody knows what the command did"
    assert log[-1]["stop_reason"] == {"type": "end_turn"} and of_type(log, "session.error") == []
    assert (await _idle(stage, waiting))[-1]["stop_reason"] == {"type": "end_turn"}
    assert "kept" in text_of(ordered_results(await stage.turn(keeper))[0]), "its files came back from their checkpoint"


async def _idle(scene: Scene, session: str) -> list[Json]:
    """Wait until the session is idle, whoever owns it by then; returns its log."""
    async with asyncio.timeout(PATIENCE), scene.stream(session) as stream:
        while True:
            log = await scene.log(session)
            if of_type(log, "session.status_idle"):
                return log
            await stream.next(PATIENCE)
