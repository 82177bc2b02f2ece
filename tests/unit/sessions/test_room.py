"""How many sessions run at once in one harness, and whose (law 9; ours)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agents.brains.scripted import Hold, reply, text
from agents.errors import Overloaded, RateLimited
from tests.unit.sessions.conftest import World, make_world, message

KEYS = {"api_keys": {"greedy": "k1", "other": "k2", "third": "k3"}}
INTERRUPT = {"type": "user.interrupt"}


@pytest.fixture
async def crowded() -> AsyncIterator[World]:
    """Room for eight; every model request waits."""
    made = make_world(harness={"max_active_sessions": 8, "drain_seconds": 0}, gateway={"key_share": 0.25}, **KEYS)
    gate = asyncio.Event()
    made.brain._by = lambda _: reply(Hold(gate), text("done"))
    await made.harness.start()
    yield made
    await made.harness.stop()


async def until_active(world: World, count: int) -> None:
    """A turn ends a moment after its last event was shown."""
    async with asyncio.timeout(5):
        while world.harness.active != count:
            await asyncio.sleep(0)


async def test_a_greedy_key_leaves_room_for_the_others(crowded: World) -> None:
    greedy = [await crowded.create(principal="greedy", initial=[message("go")]) for _ in range(7)]
    with pytest.raises(RateLimited) as refused:
        await crowded.create(principal="greedy", initial=[message("go")])
    assert refused.value.retry_after
    await crowded.create(principal="other", initial=[message("go")])
    with pytest.raises(Overloaded):
        await crowded.create(principal="third", initial=[message("go")])
    assert crowded.harness.active == 8
    # What the greedy key gives back is not for it.
    await crowded.send(greedy[0], INTERRUPT)
    await until_active(crowded, 7)
    with pytest.raises(RateLimited):
        await crowded.send(greedy[0], message("again"))
    await crowded.create(principal="third", initial=[message("go")])


async def test_a_refused_message_leaves_no_trace(crowded: World) -> None:
    waiting = await crowded.create(principal="greedy")
    for _ in range(7):
        await crowded.create(principal="greedy", initial=[message("go")])
    with pytest.raises(RateLimited):
        await crowded.send(waiting, message("go"))
    assert await crowded.log(waiting) == []
    assert (await crowded.record(waiting)).queued == 0


async def test_a_full_harness_still_takes_what_concerns_its_running_sessions(crowded: World) -> None:
    running = [await crowded.create(principal=key, initial=[message("go")]) for key in ["greedy"] * 7 + ["other"]]
    with pytest.raises(Overloaded):
        await crowded.create(principal="third", initial=[message("go")])
    [echo] = await crowded.send(running[0], message("more"))
    assert echo["processed_at"] is None
    await crowded.send(running[1], INTERRUPT)
    await until_active(crowded, 7)
    assert (await crowded.record(running[1])).status == "idle"


async def test_without_several_keys_everything_is_for_the_one() -> None:
    world = make_world(harness={"max_active_sessions": 4, "drain_seconds": 0})
    gate = asyncio.Event()
    world.brain._by = lambda _: reply(Hold(gate), text("done"))
    await world.harness.start()
    for _ in range(4):
        await world.create(initial=[message("go")])
    with pytest.raises(Overloaded):
        await world.create(initial=[message("go")])
    await world.harness.stop()
