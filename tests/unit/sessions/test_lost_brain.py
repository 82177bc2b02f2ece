"""A brain that is lost in mid-answer is replaced without anybody noticing (law 7)."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

from agents.brains.port import BrainLost
from agents.brains.scripted import Fail, Hold, text
from agents.sessions.thinking import _REPEATS

from .conftest import World, message

TURN = [
    "session.status_running",
    "session.thread_status_running",
    "user.message",
    "span.model_request_start",
    "agent.message",
    "span.model_request_end",
    "session.thread_status_idle",
    "session.usage",
    "session.status_idle",
]


def lost() -> Fail:
    return Fail(BrainLost("the replica died"))


def ends(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in log if event["type"] == "span.model_request_end"]


def test_that_a_brain_was_lost_survives_the_trip_between_processes() -> None:
    failure = pickle.loads(pickle.dumps(BrainLost("gone")))
    assert (type(failure), failure.message, failure.kind, failure.transient) == (
        BrainLost,
        "gone",
        "request_failed",
        True,
    )


async def test_the_request_is_made_again_at_once_and_half_the_message_never_existed(world: World) -> None:
    world.brain.add([text("half ", lost())], lost(), text("whole"))
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert [event["type"] for event in log] == TURN
    assert log[4]["content"] == [{"type": "text", "text": "whole"}]
    assert world.brain.requests[0] == world.brain.requests[1] == world.brain.requests[2]


async def test_what_the_lost_halves_cost_is_counted(world: World) -> None:
    # Each answer that has begun is charged for its input; only the whole one said how much it wrote.
    world.brain.add([text("half ", lost())], lost(), text("whole"))
    session = await world.create()
    await world.send(session, message("go"))
    [end] = ends(await world.idle(session))
    assert end["is_error"] is False
    assert end["model_usage"]["input_tokens"] == 20
    assert (await world.record(session)).usage.input_tokens == 20
    await world.quiet()
    assert [total.input_tokens for total in await world.meter.totals(session)] == [20]


async def until(events: AsyncIterator[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(5):
        async for event in events:
            seen.append(event)
            if event["type"] == kind:
                return seen
    raise AssertionError(f"no {kind}")


async def test_previews_of_the_lost_half_are_given_up_and_the_new_ones_have_ids_of_their_own(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add([text("half ", Hold(gate), lost())], text("who", "le"))
    session = await world.create()
    async with world.stream(session, "agent.message") as events:
        await world.send(session, message("go"))
        seen = await until(events, "event_delta")
        gate.set()
        seen += await until(events, "session.status_idle")
    starts = [event["event"]["id"] for event in seen if event["type"] == "event_start"]
    assert len(starts) == len(set(starts)) == 2
    deltas = [
        (event["event_id"], event["delta"]["content"]["text"]) for event in seen if event["type"] == "event_delta"
    ]
    assert deltas == [(starts[0], "half "), (starts[1], "who"), (starts[1], "le")]
    [said] = [event for event in seen if event["type"] == "agent.message"]
    assert said["id"] == starts[1] and said["content"][0]["text"] == "whole"


async def test_brains_that_are_lost_again_and_again_are_a_failure_in_the_end(world: World) -> None:
    world.brain.add(*[lost() for _ in range(_REPEATS + 1)], text("fine"))
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.until(session, "session.thread_status_rescheduled")
    [error] = [event["error"] for event in log if event["type"] == "session.error"]
    assert (error["type"], error["retry_status"]["type"]) == ("model_request_failed_error", "retrying")
    assert len(world.brain.requests) == _REPEATS + 1
    await world.sleepers(2)
    world.clock.advance(100)
    assert [end["is_error"] for end in ends(await world.idle(session))] == [True, False]


async def test_an_interrupt_stops_the_repeated_request_too(world: World) -> None:
    world.brain.add([text("half ", lost())], text("x", Hold(asyncio.Event())))
    session = await world.create()
    await world.send(session, message("go"))
    await world.brain.asked(2)
    await world.send(session, {"type": "user.interrupt"})
    log = await world.idle(session)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert world.brain.closed_early == 1
    [end] = ends(log)
    assert (end["is_error"], end["model_usage"]["input_tokens"]) == (True, 20)


async def test_the_brain_is_told_whose_request_it_is(world: World) -> None:
    world.brain.add(text("fine"))
    session = await world.create(principal="team-a")
    await world.send(session, message("go"))
    await world.idle(session)
    assert world.brain.requests[0].principal == "team-a"
