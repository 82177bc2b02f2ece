"""What the author tells a model in mid-conversation: where it stands, what it starts, and what it survives (spec B.1).

Bug class this catches: a system message that starts a turn by itself, that is left in the queue of a session at rest,
that stands where no model server takes it, or that a summary makes a user's words.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.brains.port import BrainRequest
from agents.brains.scripted import Hold, reply, text, tool_use
from agents.brains.system_messages import moved_to_the_prompt
from agents.errors import InvalidRequest
from agents.ids import EventId
from agents.sessions.conversation import Conversation
from agents.sessions.events import Event, EventType

from .conftest import ASK, CUSTOM, World, message, toolset


def remark(words: str) -> dict[str, Any]:
    return {"type": "system.message", "content": [{"type": "text", "text": words}]}


def result_of(call_id: str) -> dict[str, Any]:
    return {
        "type": "user.custom_tool_result",
        "custom_tool_use_id": call_id,
        "content": [{"type": "text", "text": "r"}],
    }


def spoken(request: BrainRequest) -> list[tuple[str, str]]:
    return [
        (each["role"], " ".join(block.get("text", block["type"]) for block in each["content"]))
        for each in request.messages
    ]


async def test_beside_a_message_it_stands_behind_it_and_before_the_answer(world: World) -> None:
    world.brain.add(text("one"), text("two"))
    session = await world.create()
    echoes = await world.send(session, message("hi"), remark("Be formal."))
    assert [each["processed_at"] for each in echoes] == [None, None]
    await world.idle(session)
    await world.send(session, message("more"))
    log = await world.idle(session, 2)
    first, second = world.brain.requests
    assert spoken(first) == [("user", "hi"), ("system", "Be formal.")]
    assert spoken(second) == [("user", "hi"), ("system", "Be formal."), ("assistant", "one"), ("user", "more")]
    [logged] = [each for each in log if each["type"] == "system.message"]
    assert logged["id"] == echoes[1]["id"] and logged["processed_at"] is not None


async def test_alone_at_rest_it_is_logged_at_once_and_starts_nothing(world: World) -> None:
    world.brain.add(text("one"))
    session = await world.create()
    [echo] = await world.send(session, remark("The user is a child."))
    assert echo["processed_at"] is not None
    assert await world.types(session) == ["system.message"]
    await world.send(session, message("hi"))
    await world.idle(session)
    assert spoken(world.brain.requests[0]) == [("user", "hi"), ("system", "The user is a child.")]


async def test_sent_while_the_last_answer_comes_it_is_not_left_waiting(world: World) -> None:
    hold = Hold(asyncio.Event())
    world.brain.add([text(hold, "one")], text("two"))
    session = await world.create()
    await world.send(session, message("hi"))
    await world.brain.asked(1)
    await world.send(session, remark("From now on: short."))
    hold.gate.set()
    log = await world.idle(session)
    kinds = [each["type"] for each in log]
    assert kinds.index("system.message") < kinds.index("session.thread_status_idle")
    assert (await world.record(session)).queued == 0 and len(world.brain.requests) == 1
    await world.send(session, message("more"))
    await world.idle(session, 2)
    assert spoken(world.brain.requests[1])[-2:] == [("user", "more"), ("system", "From now on: short.")]


async def test_who_waits_for_its_client_takes_it_behind_a_tool_result_only(world: World) -> None:
    world.brain.add([tool_use("weather"), tool_use("bash", {"command": "ls"})], text("done"))
    session = await world.create(CUSTOM, toolset(bash=ASK))
    await world.send(session, message("hi"))
    log = await world.idle(session)
    custom, ask = (each["id"] for each in log if each["type"].endswith("tool_use"))
    for events in ([remark("x")], [message("y"), remark("x")]):
        with pytest.raises(InvalidRequest, match=r"events\[\d\]\.type: system\.message: .*waits for its client"):
            await world.send(session, *events)
    await world.send(session, result_of(custom), remark("Trust no forecast."))
    await world.send(session, {"type": "user.tool_confirmation", "tool_use_id": ask, "result": "allow"})
    await world.until(session, "span.model_request_start", 2)
    await world.idle(session, 3)
    assert spoken(world.brain.requests[1])[-2:] == [
        ("user", "tool_result tool_result"),
        ("system", "Trust no forecast."),
    ]


async def test_a_message_that_waited_through_a_refusal_starts_the_next_turn(world: World) -> None:
    hold = Hold(asyncio.Event())
    world.brain.add(reply(text(hold, "no"), stop_reason="refusal"), text("better"))
    session = await world.create()
    await world.send(session, message("hi"))
    await world.brain.asked(1)
    await world.send(session, message("then something else"), remark("Stay polite."))
    hold.gate.set()
    log = await world.idle(session, 2)
    reasons = [each["stop_reason"]["type"] for each in log if each["type"] == "session.status_idle"]
    assert reasons == ["refusal", "end_turn"]
    assert (await world.record(session)).queued == 0


def event(number: int, type_: EventType, words: str, **hidden: Any) -> Event:
    body = {"content": [{"type": "text", "text": words}]} if words else {}
    return Event(EventId(f"sevt_{number}"), type_, body, None, number, hidden=hidden or None)


def test_no_summary_takes_the_place_of_what_the_author_said() -> None:
    conversation = Conversation()
    for number, (type_, words) in enumerate(
        [
            (EventType.USER_MESSAGE, "u1"),
            (EventType.SYSTEM_MESSAGE, "s1"),
            (EventType.AGENT_MESSAGE, "a1"),
            (EventType.USER_MESSAGE, "u2"),
            (EventType.SYSTEM_MESSAGE, "s2"),
            (EventType.USER_MESSAGE, "u3"),
        ]
    ):
        conversation.apply(event(number, type_, words))
    assert [each["role"] for each in conversation.messages] == ["user", "system", "assistant", "user", "system"]
    assert [block["text"] for block in conversation.messages[3]["content"]] == ["u2", "u3"]
    conversation.apply(event(9, EventType.CONTEXT_COMPACTED, "", summary="all of it", keeps=2))
    opening, said = conversation.messages
    assert (opening["role"], said["role"]) == ("user", "system")
    assert [block["text"] for block in said["content"]] == ["s1", "s2"]
    assert "all of it" in opening["content"][0]["text"]


def test_a_brain_that_takes_none_is_told_with_the_system_prompt() -> None:
    said = [{"type": "text", "text": "hi"}]
    messages = [{"role": "user", "content": said}, {"role": "system", "content": [{"type": "text", "text": "Calm."}]}]
    moved = moved_to_the_prompt(BrainRequest("s", "m", messages, system="Base."))
    assert moved.messages == messages[:1]
    assert moved.system is not None and moved.system.startswith("Base.") and moved.system.endswith("Calm.")
    plain = BrainRequest("s", "m", messages[:1])
    assert moved_to_the_prompt(plain) is plain
