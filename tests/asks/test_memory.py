"""What a long-lived server keeps of sessions that are over: nothing that grows."""

from __future__ import annotations

import asyncio
import gc

from agents.brains.scripted import reply, text
from agents.ids import SessionId
from agents.sessions.state import SessionState
from tests.unit.sessions.conftest import World, make_world, message

KEPT = 8


def states_of(sessions: list[SessionId]) -> int:
    """How many of these sessions are in memory, by whatever still refers to them."""
    gc.collect()
    wanted = set(sessions)
    return sum(each.record.id in wanted for each in gc.get_objects() if type(each) is SessionState)


async def spoken(world: World) -> SessionId:
    session = await world.create()
    await world.send(session, message("hi"))
    await world.idle(session)
    await world.quiet()
    return session


async def test_idle_sessions_leave_memory_beyond_the_bound_and_come_back_whole() -> None:
    """Ask 58: servers grew to tens of gigabytes in a day, since what should evict was never called. Idle sessions
    beyond the bound are let go, whatever held on to them; the next message finds them in the log."""
    world = make_world(harness={"max_cached_sessions": KEPT})
    world.brain._by = lambda request: reply(text(f"answer {len(request.messages)}"))
    await world.harness.start()
    try:
        sessions = [await spoken(world) for _ in range(5 * KEPT)]
        assert world.harness.figures["cached"] <= KEPT
        assert states_of(sessions) <= KEPT
        first = sessions[0]
        before = await world.log(first)
        await world.send(first, message("still there?"))
        log = await world.idle(first, 2)
        assert log[: len(before)] == before
        assert [each["role"] for each in world.brain.requests[-1].messages] == ["user", "assistant", "user"]
    finally:
        await world.harness.stop()


async def test_sessions_that_came_and_went_leave_nothing_behind() -> None:
    """Ask 58: thousands of sessions that were over stood beside two hundred living ones. What was deleted is referred
    to by nobody: no runner, no subscription, no count, no note."""
    world = make_world()
    world.brain._by = lambda _: reply(text("done"))
    await world.harness.start()
    try:
        sessions: list[SessionId] = []
        for _ in range(50):
            sessions.append(await spoken(world))
            await world.harness.delete(sessions[-1])
        async with world.stream(sessions[0]):
            pass
        async with asyncio.timeout(5):
            while world.harness.figures["removals"]:
                await asyncio.sleep(0)
        assert (world.harness.figures["cached"], world.harness.figures["active"]) == (0, 0)
        assert states_of(sessions) == 0
        assert list(world.ports.bus.sessions()) == []
        assert sorted(world.hands.released) == sorted((session, True) for session in sessions)
        assert await world.store.log.deleted(range(world.settings.harness.partitions)) == []
    finally:
        await world.harness.stop()
