"""A turn of the monolith holds its slot from its first model request until it ends, tools included; nobody else does.

Bug class this catches: a slot that is given back between a model request and its tools (the monolith would be helped),
and one that is kept by a turn that has ended, waits for a person, or was lost (it would be crippled, and stand still).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agents.brains.scripted import Hold, fail, reply, text, tool_use
from agents.ids import SessionId
from agents.sessions.harness import Harness
from agents.sessions.turn_slots import TurnSlots
from tests.unit.sessions.conftest import ASK, World, make_world, message, toolset
from tests.unit.waiting import until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A harness with one slot."""
    made = make_world()
    await _with_slots(made, TurnSlots(1, made.settings.brain))
    yield made
    await made.harness.stop()


async def _with_slots(world: World, slots: TurnSlots) -> None:
    world.ports = replace(world.ports, slots=slots)
    world.harness = Harness(world.ports, owner="monolith-0")
    await world.harness.start()


def _figure(world: World, name: str) -> int:
    assert world.ports.slots is not None
    return world.ports.slots.figures[name]


async def _tool_under_way(world: World) -> SessionId:
    """Start a session whose turn is in the middle of a tool call."""
    world.hands.gates["bash"] = asyncio.Event()
    world.brain.add(reply(tool_use("bash", {"command": "make"})))
    session = await world.create()
    await world.send(session, message("build"))
    await world.hands.started(1)
    return session


async def test_a_turn_holds_its_slot_while_its_tools_run_and_the_next_turn_begins_when_it_has_ended(
    world: World,
) -> None:
    first = await _tool_under_way(world)
    second = await world.create(initial=[message("me too")])
    await until(lambda: _figure(world, "turns_waiting") == 1)
    assert len(world.brain.requests) == 1, "the second turn was not thought about while the first one's tool ran"
    world.brain.add(reply(text("built")), reply(text("you too")))
    world.hands.gates["bash"].set()
    await world.idle(first)
    await world.idle(second)
    assert [request.session_id for request in world.brain.requests] == [first, first, second]
    await world.quiet()
    assert _figure(world, "turn_slots_held") == 0


async def test_an_interrupt_gives_the_slot_back(world: World) -> None:
    first = await _tool_under_way(world)
    world.brain.add(reply(text("mine")))
    second = await world.create(initial=[message("me too")])
    await until(lambda: _figure(world, "turns_waiting") == 1)
    await world.send(first, {"type": "user.interrupt"})
    await world.idle(second)


async def test_a_turn_that_fails_gives_the_slot_back(world: World) -> None:
    world.brain.add(fail("request_failed", transient=False), reply(text("mine")))
    first = await world.create(initial=[message("fail")])
    await world.until(first, "session.error")
    second = await world.create(initial=[message("me too")])
    await world.idle(second)


async def test_a_turn_that_waits_for_a_permission_holds_no_slot_and_needs_one_to_go_on(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add(reply(tool_use("bash", {"command": "rm x"})), reply(text("mine", Hold(gate), "!")))
    asking = await world.create(toolset(bash=ASK), initial=[message("clean up")])
    log = await world.idle(asking)
    call = next(event["id"] for event in log if event["type"] == "agent.tool_use")
    thinking = await world.create(initial=[message("me too")])
    await world.brain.asked(2)
    await world.send(asking, {"type": "user.tool_confirmation", "tool_use_id": call, "result": "allow"})
    await until(lambda: _figure(world, "turns_waiting") == 1)
    assert world.hands.calls == [], "the tool waits, for the other turn has the slot"
    world.brain.add(reply(text("clean")))
    gate.set()
    await world.idle(thinking)
    await world.idle(asking, 2)
    assert [call.name for call in world.hands.calls] == ["bash"]


async def test_a_turn_is_interrupted_while_it_waits_for_a_slot(world: World) -> None:
    await _tool_under_way(world)
    waiting = await world.create(initial=[message("me too")])
    await until(lambda: _figure(world, "turns_waiting") == 1)
    await world.send(waiting, {"type": "user.interrupt"})
    await world.idle(waiting)
    assert (_figure(world, "turns_waiting"), _figure(world, "turn_slots_held")) == (0, 1)


async def test_a_turn_that_its_owner_leaves_gives_the_slot_back(world: World) -> None:
    await _tool_under_way(world)
    assert _figure(world, "turn_slots_held") == 1
    await world.harness.stop()
    assert _figure(world, "turn_slots_held") == 0


async def test_a_turn_that_gets_no_slot_in_time_is_rescheduled_as_when_a_brain_has_no_place() -> None:
    world = make_world(brain={"waiting_timeout_seconds": 0.01})
    await _with_slots(world, TurnSlots(1, world.settings.brain))
    first = await _tool_under_way(world)
    second = await world.create(initial=[message("me too")])
    log = await world.until(second, "session.status_rescheduled")
    error = next(event["error"] for event in log if event["type"] == "session.error")
    assert error["type"] == "model_overloaded_error"
    world.brain.add(reply(text("built")), reply(text("you too")))
    world.hands.gates["bash"].set()
    await world.idle(first)
    await world.sleepers(2)
    world.clock.advance(60)
    await world.idle(second)
    await world.harness.stop()
