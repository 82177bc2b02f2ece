"""A session stays with the version of its brain, and its log says which that is.

Bug class this catches: a session that changes its version at random, or when another process takes it over.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.local_pools import LocalPools
from agents.brains.policy import RulePolicy
from agents.brains.registry import Registry
from agents.brains.releases import Releases, declared_split
from agents.brains.routing import RoutedBrain
from agents.brains.scripted import ScriptedBrain, text
from agents.governance.split import Split, StoredSplit
from agents.ids import SessionId
from agents.sessions.harness import Harness

from .conftest import make_world, message

QWEN = BrainDefinition.model_validate({"engine": "replay", "versions": {"2": {}}})


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_session_keeps_its_version_over_turns_and_restarts_until_it_is_withdrawn(restarts: bool) -> None:
    world = make_world()
    registry = Registry({"qwen": QWEN})
    releases = Releases(registry, world.clock.monotonic)
    scripts = {brain.id: ScriptedBrain(by=lambda request: text(request.brain)) for brain in registry.brains}
    pools = LocalPools(registry, scripts, world.settings.brain)
    brain = RoutedBrain(registry, pools, RulePolicy(world.ports.prices), releases=releases)
    world.ports = replace(world.ports, brain=brain)
    world.harness = Harness(world.ports, owner="harness-0")
    await world.harness.start()
    record = world.new_record()
    session = SessionId(record.id)
    agent = {**record.agent, "model": {**record.agent["model"], "id": "qwen"}}
    await world.harness.create(replace(record, agent=agent), [])

    told = list[dict[str, object]]()
    splits = (Split("2"), Split("1"), Split("1", withdrawn={"2": "by hand"}), Split("2"))
    for turn, split in enumerate(splits, start=1):
        if restarts:
            await world.harness.stop()
            world.harness = Harness(world.ports, owner="harness-0")
            await world.harness.start()
        releases.learn({"qwen": StoredSplit(split, declared_split(QWEN), 1)}, 0)
        await world.send(session, message("go"))
        log = await world.idle(session, turn)
        told.append([event for event in log if event["type"] == "span.model_request_end"][-1]["brain"])
    moved = {"moved_from": {"id": "qwen@2", "reason": "by hand"}}
    asked = {"requested": "qwen"}
    assert told == [
        {"id": "qwen@2", **asked},
        {"id": "qwen@2", **asked},
        {"id": "qwen@1", **asked, **moved},
        {"id": "qwen@1", **asked},
    ]
    await world.harness.stop()
