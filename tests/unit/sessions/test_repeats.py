"""Requests that come again, from the SDK or from a gateway, are answered and not done twice (spec H-7).

Bug class this catches: a message that is there twice because its answer was lost with the owner that took it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agents.brains.scripted import Hold, text, tool_use
from agents.errors import LogConflict
from agents.ids import EventId, SessionId, new_event_id
from agents.sessions.events import Event, EventType
from agents.sessions.repeats import Accepted, ClientRequest
from tests.unit.sessions.conftest import CUSTOM, World, make_world, message

FIRST, RETRY = "0:abc", "1:abc"


def with_id(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "id": new_event_id()}


async def messages(world: World, session: str) -> list[str]:
    log = await world.log(SessionId(session))
    return [event["content"][0]["text"] for event in log if event["type"] == "user.message"]


async def replace_owner(world: World) -> None:
    """Drop the harness as a crash does, and start another of its name."""
    assert world.harness._keeper._beating is not None
    world.harness._keeper._beating.cancel()
    world.harness = world.another_harness()
    await world.harness.start()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = make_world()
    made.brain.add(*(text(f"answer {number}") for number in range(5)))
    await made.harness.start()
    yield made
    await made.harness.stop()


async def test_a_retry_is_answered_like_the_first_and_the_same_words_sent_on_purpose_are_new(world: World) -> None:
    session = await world.create()
    first = await world.harness.send(session, [message("hi"), message("there")], repeat_key=FIRST)
    await world.idle(session)
    assert await world.harness.send(session, [message("hi"), message("there")], repeat_key=RETRY) == first
    await world.harness.send(session, [message("hi")], repeat_key="0:other")
    await world.harness.send(session, [message("hi")], repeat_key="1:never seen")
    await world.harness.send(session, [message("hi")], repeat_key="0:other")
    await world.quiet()
    assert await messages(world, session) == ["hi", "there", "hi", "hi", "hi"]


async def test_a_retry_is_recognised_by_the_next_owner_too(world: World) -> None:
    session = await world.create()
    first = await world.harness.send(session, [message("hi")], repeat_key=FIRST)
    await world.idle(session)
    await replace_owner(world)
    assert await world.harness.send(session, [message("hi")], repeat_key=RETRY) == first
    assert await messages(world, session) == ["hi"]


async def test_what_still_waits_is_recognised_by_the_next_owner_too(world: World) -> None:
    world.brain._answers.clear()
    world.brain.add(text("never", Hold(asyncio.Event())), text("never", Hold(asyncio.Event())))
    session = await world.create(initial=[message("go")])
    await world.brain.asked(1)
    waiting = with_id(message("later"))
    first = await world.harness.send(session, [waiting], repeat_key=FIRST)
    await replace_owner(world)
    await world.brain.asked(2)
    assert await world.harness.send(session, [with_id(message("later"))], repeat_key=RETRY) == first
    assert await world.harness.send(session, [waiting], again=True) == first
    assert [event.id for event in (await world.store.log.load(session)).queued] == [waiting["id"]]


async def test_a_retry_that_overtakes_its_first_attempt_is_done_once(world: World) -> None:
    session = await world.create()
    sends = [world.harness.send(session, [message("hi")], repeat_key=key) for key in (FIRST, RETRY, "2:abc")]
    one, two, three = await asyncio.gather(*sends)
    assert one == two == three
    assert await messages(world, session) == ["hi"]


async def test_a_retry_counts_for_a_while_only_and_can_be_turned_off(world: World) -> None:
    session = await world.create()
    await world.harness.send(session, [message("hi")], repeat_key=FIRST)
    await world.idle(session)
    world.clock.advance(world.settings.gateway.retry_dedupe_seconds + 1)
    await world.harness.send(session, [message("hi")], repeat_key=RETRY)
    await world.idle(session, 2)
    off = ClientRequest.of([message("hi")], repeat_key=RETRY, span=0)
    assert off.digest is None and off.mark([], 0) is None


async def say(world: World, session: str, key: str, *, idles: int) -> list[dict[str, Any]]:
    """Send the same words, as a client that waits for the end of the turn before it goes on."""
    echoes = await world.harness.send(SessionId(session), [message("go on")], repeat_key=key)
    await world.idle(session, idles)
    world.clock.advance(2)
    return echoes


async def test_a_retry_of_words_that_a_client_says_on_purpose_is_new_once_their_last_turn_is_over(world: World) -> None:
    """Else what a client says again is lost when its first try never came here, and the session stands still."""
    session = await world.create()
    said = [await say(world, session, FIRST, idles=number) for number in (1, 2)]
    await replace_owner(world)
    said.append(await say(world, session, RETRY, idles=3))
    assert len({echoes[0]["id"] for echoes in said}) == 3
    assert await messages(world, session) == ["go on"] * 3


@pytest.mark.parametrize("retries", [1, 2, 3])
async def test_a_retry_that_was_first_sent_before_the_turn_was_over_is_answered_from_memory(
    world: World, retries: int
) -> None:
    session = await world.create()
    await say(world, session, FIRST, idles=1)
    again = await world.harness.send(session, [message("go on")], repeat_key=FIRST)
    await world.idle(session, 2)
    # What the SDK waits at least before that try, but for a moment.
    world.clock.advance(0.375 * (2**retries - 1) - 0.01)
    assert await world.harness.send(session, [message("go on")], repeat_key=f"{retries}:abc") == again
    assert len(await messages(world, session)) == 2


async def test_a_retry_is_answered_from_memory_while_the_turn_of_the_same_words_lasts(world: World) -> None:
    session = await world.create()
    await say(world, session, FIRST, idles=1)
    world.brain._answers.clear()
    world.brain.add(text("never", Hold(asyncio.Event())))
    again = await world.harness.send(session, [message("go on")], repeat_key=FIRST)
    await world.brain.asked(2)
    world.clock.advance(30)
    assert await world.harness.send(session, [message("go on")], repeat_key=RETRY) == again


async def test_words_that_were_said_once_are_told_from_their_repeat_however_late_it_comes(world: World) -> None:
    """A request that is delivered once more starts nothing, also after its turn."""
    session = await world.create()
    first = await say(world, session, FIRST, idles=1)
    world.clock.advance(30)
    assert await world.harness.send(session, [message("go on")], repeat_key=RETRY) == first


async def test_a_refused_request_is_not_remembered(world: World) -> None:
    session = await world.create()
    wrong = {"type": "user.tool_confirmation", "tool_use_id": "sevt_x", "result": "allow"}
    for key in (FIRST, RETRY):
        with pytest.raises(Exception, match="not an open tool use"):
            await world.harness.send(session, [message("hi"), wrong], repeat_key=key)
    assert await messages(world, session) == []


async def test_a_gateway_may_ask_again_with_the_same_ids(world: World) -> None:
    session = await world.create()
    events = [with_id(message("hi")), with_id({"type": "user.interrupt"})]
    first = await world.harness.send(session, events, again=True)
    assert [echo["id"] for echo in first] == [event["id"] for event in events]
    await world.quiet()
    log = await world.log(session)
    await replace_owner(world)
    again = await world.harness.send(session, events, again=True)
    assert [echo["id"] for echo in again] == [echo["id"] for echo in first]
    await world.quiet()
    assert await world.log(session) == log


async def test_an_answer_that_repeats_an_earlier_one_is_echoed_again_with_the_rest_of_its_request(world: World) -> None:
    world.brain._answers.clear()
    world.brain.add([tool_use("weather", {}), tool_use("weather", {})], text("done"))
    session = await world.create(CUSTOM)
    await world.send(session, message("go"))
    one, two = (e["id"] for e in await world.idle(session) if e["type"] == "agent.custom_tool_use")
    answers = [with_id({"type": "user.custom_tool_result", "custom_tool_use_id": call}) for call in (one, two)]
    [early] = await world.send(session, answers[0])
    request = [with_id(answers[0]), answers[1]]
    first = await world.harness.send(session, request, repeat_key=FIRST)
    assert [echo["id"] for echo in first] == [early["id"], answers[1]["id"]]
    await world.quiet()
    assert await world.harness.send(session, request, repeat_key=FIRST, again=True) == first
    assert await world.harness.send(session, request, repeat_key=RETRY) == first


async def test_what_marks_a_request_is_shown_to_nobody(world: World) -> None:
    session = await world.create()
    echo = await world.harness.send(session, [with_id(message("hi"))], repeat_key=FIRST)
    await world.idle(session)
    stored = next(e for e in (await world.store.log.load(session)).events if e.type is EventType.USER_MESSAGE)
    assert stored.hidden is not None and stored.hidden["repeat"]["digest"] == "abc"
    assert set(stored.body) == {"content"}
    assert set(echo[0]) == {"id", "type", "content", "processed_at"}
    assert world.brain.requests[0].messages == [{"role": "user", "content": message("hi")["content"]}]


async def test_a_session_that_is_created_again_is_created_once(world: World) -> None:
    record = world.new_record()
    first = await world.harness.create(record, [message("hi")])
    await world.quiet()
    again = await world.harness.create(record, [message("hi")])
    assert again.id == first.id and again.seq > first.seq
    await replace_owner(world)
    assert await world.harness.create(record, [message("hi")]) == again
    assert await messages(world, record.id) == ["hi"]
    with pytest.raises(LogConflict):
        await world.harness.create(replace(record, created_at=record.created_at + timedelta(seconds=1)), [])


async def test_a_session_that_is_created_twice_at_once_is_created_once(world: World) -> None:
    record = world.new_record()
    one, two = await asyncio.gather(*(world.harness.create(record, [message("hi")]) for _ in range(2)))
    assert one.id == two.id == record.id
    await world.quiet()
    assert await messages(world, record.id) == ["hi"]


def test_what_is_remembered_is_bounded() -> None:
    accepted = Accepted()
    for number in range(5000):
        hidden = {"repeat": {"digest": f"d{number}", "at": float(number), "answer": [f"sevt_{number}"]}}
        accepted.note(Event(EventId(f"sevt_{number}"), EventType.USER_MESSAGE, {}, None, hidden=hidden))
    assert len(accepted._events) <= 2048 and len(accepted._requests) <= 16
    newest = ClientRequest.of([], repeat_key="1:d4999", span=60)
    assert [event.id for event in accepted.echo(newest, 5000.0) or ()] == ["sevt_4999"]
