"""Work that nobody wants any more must be findable and stoppable, and must not go on by itself."""

from __future__ import annotations

import asyncio

from agents.brains.scripted import Hold
from tests.conformance.scene import Scene, bash, calls, message, of_type, says, toolset
from tests.unit.sessions.conftest import make_world
from tests.unit.sessions.conftest import message as unit_message


async def test_running_sessions_can_be_listed_and_each_can_be_stopped_by_anybody_with_the_key(scene: Scene) -> None:
    """Asks 18, 19, 20, 22: after a client's time-out its work ran on and cost money, and nothing could list it or end
    it. Here a second client, which knows no ids, finds what runs and stops it: the model's generation too."""
    agent = await scene.agent(toolset())
    await scene.answers(says([scene.gate("never")]), calls(bash("sleep 600")))
    sessions = [await scene.session(agent=agent) for _ in range(2)]
    for count, session in enumerate(sessions, 1):
        await scene.send(session, message())
        await scene.shown(count)
    await scene.until(sessions[1], "agent.tool_use")
    query = {"statuses[]": "running", "agent_id": agent}
    running = [each["id"] for each in (await scene.get("/v1/sessions", query))["data"]]
    assert sorted(running) == sorted(sessions)
    for session in running:
        await scene.send(session, {"type": "user.interrupt"})
    for session in running:
        assert (await scene.idle(session))[-1]["stop_reason"] == {"type": "end_turn"}
    await scene.shown(2, closed=1)
    assert (await scene.get("/v1/sessions", query))["data"] == []
    assert len(await scene.shown()) == 2, "nobody asks the model again"


async def test_an_idle_session_accrues_nothing(scene: Scene) -> None:
    """Asks 18, 21: sessions were billed for minutes after their work was done. Active time and usage stand still."""
    await scene.answers(says("done"))
    session = await scene.session()
    await scene.turn(session)
    first, second = await scene.retrieve(session), await scene.retrieve(session)
    assert first["stats"]["active_seconds"] == second["stats"]["active_seconds"] > 0
    assert first["usage"] == second["usage"]
    assert second["stats"]["duration_seconds"] > first["stats"]["duration_seconds"]


async def test_a_model_that_never_says_anything_ends_the_turn_with_an_error_by_itself() -> None:
    """Asks 8, 32: a run without a person at it hung for ever, with no way back. Every wait for the model has an end,
    and so has the number of tries; then the session says so and takes new input."""
    quick = {"first_event_timeout_seconds": 0.01, "waiting_timeout_seconds": 0.01}
    world = make_world(brain={"max_attempts": 3, **quick})
    await world.harness.start()
    try:
        world.brain.add(*([Hold(asyncio.Event())] for _ in range(3)))
        session = await world.create()
        await world.send(session, unit_message("go"))
        for attempt in (1, 2):
            await world.until(session, "session.status_rescheduled", attempt)
            await world.sleepers(2)  # the beat of the leases, and the back-off
            world.clock.advance(60)
        log = await world.idle(session)
        assert len(world.brain.requests) == 3
        assert len(of_type(log, "session.error")) == 3
        assert log[-1]["stop_reason"] == {"type": "retries_exhausted"}
    finally:
        await world.harness.stop()
