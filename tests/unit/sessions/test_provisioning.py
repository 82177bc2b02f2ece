"""A sandbox before the turn, where a platform is set so (bug class: a turn that waits for one it never needs)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agents.brains.scripted import text, tool_use
from agents.errors import Unavailable
from agents.hands.port import PROVISION

from .conftest import CUSTOM, World, make_world, message, toolset


@pytest.fixture
async def eager() -> AsyncIterator[World]:
    made = make_world(sandbox={"provision": "before_turn"})
    await made.harness.start()
    yield made
    await made.harness.stop()


def names(world: World) -> list[str]:
    return [call.name for call in world.hands.calls]


async def test_the_sandbox_is_there_before_the_brain_is_asked_once_a_turn_and_the_log_knows_nothing_of_it(
    eager: World, world: World
) -> None:
    logs = []
    for each in (eager, world):
        each.brain.add([tool_use("bash", {"command": "ls"})], text("done"), text("again"))
        session = await each.create(toolset())
        await each.send(session, message("go"))
        await each.idle(session)
        await each.send(session, message("on"))
        logs.append([event["type"] for event in await each.idle(session, 2)])
    assert names(eager) == [PROVISION, "bash", PROVISION]
    assert names(world) == ["bash"]
    assert logs[0] == logs[1]


async def test_the_first_text_waits_for_the_sandbox(eager: World) -> None:
    gate = eager.hands.gates[PROVISION] = asyncio.Event()
    eager.brain.add(text("done"))
    session = await eager.create(toolset())
    await eager.send(session, message("go"))
    await eager.hands.started(1)
    assert eager.brain.requests == []
    gate.set()
    await eager.idle(session)
    assert len(eager.brain.requests) == 1


async def test_a_sandbox_that_does_not_come_keeps_no_turn_from_its_end(eager: World) -> None:
    eager.hands.fault = Unavailable("no host")
    eager.brain.add(text("done"))
    session = await eager.create(toolset())
    await eager.send(session, message("go"))
    log = await eager.idle(session)
    assert [event["type"] for event in log if event["type"].endswith(("error", "message"))] == [
        "user.message",
        "agent.message",
    ]


async def test_an_agent_that_calls_no_sandbox_gets_none(eager: World) -> None:
    eager.brain.add(text("done"))
    session = await eager.create(CUSTOM)
    await eager.send(session, message("go"))
    await eager.idle(session)
    assert names(eager) == []
