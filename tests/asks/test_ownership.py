"""Who works on a session: one, for as long as it lives, and the next one at once when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agents.brains.scripted import Hold, text, tool_use
from agents.sessions.harness import Harness
from tests.unit.sessions.conftest import ASK, World, make_world, message, toolset

BEAT = 1.0


class TwoOwners:
    """Two harnesses over one store, of which the first has joined alone."""

    def __init__(self) -> None:
        self.world: World = make_world(harness={"handover_seconds": 3600})
        self.first = self.world.harness
        self.second = Harness(self.world.ports, owner="harness-1")

    async def beats(self, count: int) -> None:
        for _ in range(count):
            self.world.clock.advance(BEAT)
            for _ in range(50):
                await asyncio.sleep(0)


@pytest.fixture
async def owners() -> AsyncIterator[TwoOwners]:
    made = TwoOwners()
    await made.first.start()
    yield made
    await asyncio.gather(made.first.stop(), made.second.stop())


async def test_a_turn_that_outlasts_many_leases_stays_with_its_owner(owners: TwoOwners) -> None:
    """Ask 53: the lease was never renewed, so a long turn was given to a second worker while the first was still at it.
    Another member is there all the time, ready to take what expires."""
    world, held = owners.world, asyncio.Event()
    world.brain.add([Hold(held), text("at last")])
    session = await world.create()
    await world.send(session, message("take your time"))
    await world.brain.asked(1)
    await owners.second.start()
    await owners.beats(200)
    assert owners.first.active == 1 and owners.second.active == 0
    held.set()
    log = await world.idle(session)
    assert len(world.brain.requests) == 1 and log[-1]["stop_reason"] == {"type": "end_turn"}
    assert owners.second.figures["partitions"] > 0, "it took its share of what was quiet"


async def test_a_session_that_waits_for_its_client_is_answered_at_whoever_owns_it_then(owners: TwoOwners) -> None:
    """Ask 52: a worker was told to stop while a session waited for an answer; the session stood in requires_action for
    ever, and its work was never offered to anybody again."""
    world = owners.world
    world.brain.add(tool_use("bash", {"command": "ls"}), text("done"))
    session = await world.create(toolset(bash=ASK))
    await world.send(session, message("go"))
    call = (await world.idle(session))[-1]["stop_reason"]["event_ids"][0]
    stopping = asyncio.create_task(owners.first.stop())
    await owners.second.start()
    await owners.beats(5)
    await stopping
    world.harness = owners.second
    assert (await world.log(session))[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [call]}
    await world.send(session, {"type": "user.tool_confirmation", "tool_use_id": call, "result": "allow"})
    log = await world.idle(session, 2)
    assert log[-1]["stop_reason"] == {"type": "end_turn"} and [each.call_id for each in world.hands.calls] == [call]
