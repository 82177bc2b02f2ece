"""How much may wait in one session's queue (law 9; ours)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agents.brains.scripted import Hold, text
from agents.errors import RateLimited
from agents.ids import SessionId

from .conftest import World, make_world, message

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
