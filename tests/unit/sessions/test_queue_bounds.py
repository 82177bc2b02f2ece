"""How much may wait in one session's queue (law 9; ours)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agents.brains.port import BrainRequest
from agents.brains.scripted import Hold, Scripted, text, tool_use
from agents.errors import RateLimited
from agents.ids import SessionId

from .conftest import CUSTOM, World, agent_snapshot, make_world, message

INTERRUPT = {"type": "user.interrupt"}
LARGE = "x" * 800


@pytest.fixture
async def small() -> AsyncIterator[World]:
    """Room for four waiting events, or for 2 KB of them."""
    made = make_world(harness={"max_queued_events": 4, "max_queued_bytes": 2048, "drain_seconds": 0})
    await made.harness.start()
    yield made
    await made.harness.stop()


async def busy_session(world: World) -> SessionId:
    world.brain.add(text("x", Hold(asyncio.Event())), text("next"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.brain.asked(1)
    return session


async def test_a_full_queue_refuses_messages_and_takes_the_interrupt_that_empties_it(small: World) -> None:
    session = await busy_session(small)
    await small.send(session, *[message(str(number)) for number in range(4)])
    with pytest.raises(RateLimited):
        await small.send(session, message("one more"))
    with pytest.raises(RateLimited):
        await small.send(session, INTERRUPT, message("one more"))
    await small.send(session, INTERRUPT)
    await small.idle(session, 2)
    assert [b["text"] for b in small.brain.requests[1].messages[0]["content"]] == ["go", "0", "1", "2", "3"]


async def test_a_few_large_events_fill_the_queue_as_well(small: World) -> None:
    session = await busy_session(small)
    await small.send(session, message(LARGE))
    await small.send(session, message(LARGE))
    with pytest.raises(RateLimited):
        await small.send(session, message(LARGE))
    await small.send(session, message("small"))
    assert (await small.record(session)).queued == 3


async def test_one_event_larger_than_the_bound_is_taken_while_nothing_waits(small: World) -> None:
    session = await busy_session(small)
    await small.send(session, message(LARGE * 4))
    with pytest.raises(RateLimited):
        await small.send(session, message("small"))


async def test_what_threads_tell_each_other_takes_no_room_of_the_clients(small: World) -> None:
    """Bug class this catches: agents that report to a busy coordinator lock its client out, interrupts too."""
    gate, names = asyncio.Event(), [f"helper{number}" for number in range(5)]

    def answer(request: BrainRequest) -> Scripted:
        if (request.system or "").startswith("You help."):
            return [text("done " * 300)]
        if len(request.messages) > 1:
            return [text("x", Hold(gate))]
        return [tool_use("create_agent", {"agent": name, "message": "count"}) for name in names]

    small.brain._by = answer
    record, helper = small.new_record(CUSTOM), {**agent_snapshot(CUSTOM), "system": "You help."}
    roster = [{**helper, "id": f"agent_{name}", "name": name} for name in names]
    agent = {**record.agent, "multiagent": {"type": "coordinator", "agents": roster}}
    session = SessionId((await small.harness.create(replace(record, agent=agent), [message("go")])).id)
    await small.until(session, "session.thread_status_idle", len(names))
    assert (await small.record(session)).queued == len(names)
    await small.send(session, message("still there?"), message("?"))
    await small.send(session, INTERRUPT)
    gate.set()
    await small.idle(session, 2)
