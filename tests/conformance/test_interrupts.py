"""An interrupt in each of its situations (spec B.3)."""

from __future__ import annotations

import asyncio

from tests.conformance.requirements import requirement
from tests.conformance.scene import (
    ASK,
    CUSTOM,
    END,
    Scene,
    bash,
    calls,
    fails,
    message,
    of_type,
    says,
    text_of,
    toolset,
)

INTERRUPT = {"type": "user.interrupt"}
END_TURN = {"type": "end_turn"}


@requirement("events:interrupt:thinking", "events:order:spans")
async def test_a_model_that_answers_is_stopped_at_once(scene: Scene) -> None:
    await scene.answers(says(["half", scene.gate("never"), "whole"]), says("next"))
    session = await scene.session()
    async with scene.stream(session, {"event_deltas[]": "agent.message"}) as stream:
        await scene.send(session, message())
        await stream.until("event_delta")
        [echo] = await scene.send(session, INTERRUPT)
        await stream.until("session.status_idle")
    assert echo["processed_at"] is None
    log = await scene.log(session)
    kinds = [event["type"] for event in log]
    assert kinds[-6:] == ["span.model_request_start", "span.model_request_end", "user.interrupt", *END]
    assert log[-5]["is_error"] is True and log[-1]["stop_reason"] == END_TURN
    assert log[-4]["id"] == echo["id"] and log[-4]["processed_at"]
    assert not of_type(log, "agent.message")
    # The request itself ended: nobody pays for an answer that nobody reads.
    assert len(await scene.shown(1, closed=1)) == 1
    log = await scene.turn(session)
    assert text_of(of_type(log, "agent.message")[0]) == "next"


@requirement("events:interrupt:tools")
async def test_running_tools_end_with_error_results(scene: Scene) -> None:
    await scene.answers(calls(bash("echo quick"), bash("sleep 60; touch /workspace/late")), says("next"))
    session = await scene.session(toolset())
    await scene.send(session, message())
    await scene.until(session, "agent.tool_result")
    async with asyncio.timeout(10):
        await scene.send(session, INTERRUPT)
        log = await scene.idle(session)
    uses = [event["id"] for event in of_type(log, "agent.tool_use")]
    results = {event["tool_use_id"]: event for event in of_type(log, "agent.tool_result")}
    assert set(results) == set(uses)
    assert results[uses[0]]["is_error"] is False and results[uses[1]]["is_error"] is True
    assert [event["type"] for event in log[-5:]] == ["user.interrupt", "agent.tool_result", *END]
    assert log[-1]["stop_reason"] == END_TURN and len(await scene.shown()) == 1
    await scene.turn(session)
    content = (await scene.shown(2))[1]["messages"][-1]["content"]
    assert [block["type"] for block in content] == ["tool_result", "tool_result", "text"]


@requirement("events:interrupt:waiting")
async def test_a_pending_wait_is_cleared_and_its_calls_closed(scene: Scene) -> None:
    await scene.answers(calls(bash("true"), ("weather", {"city": "Oslo"})), says("next"))
    session = await scene.session(toolset(bash=ASK), CUSTOM)
    log = await scene.turn(session)
    asked, custom = log[-1]["stop_reason"]["event_ids"]
    log = await scene.turn(session, INTERRUPT)
    assert [event["type"] for event in log[-3:]] == END and log[-1]["stop_reason"] == END_TURN
    assert of_type(log, "user.interrupt")[0]["processed_at"]
    [closed] = of_type(log, "agent.tool_result")
    assert (closed["tool_use_id"], closed["is_error"]) == (asked, True)
    [other] = of_type(log, "user.custom_tool_result")
    assert (other["custom_tool_use_id"], other["is_error"]) == (custom, True)
    late = {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"}
    await scene.refused(session, late)
    log = await scene.turn(session)
    assert log[-1]["stop_reason"] == END_TURN


@requirement("events:interrupt:idle")
async def test_an_idle_session_is_not_moved(scene: Scene) -> None:
    session = await scene.session()
    [echo] = await scene.send(session, INTERRUPT)
    assert echo["id"] and echo["processed_at"]
    assert await scene.log(session) == [echo]
    assert (await scene.retrieve(session))["status"] == "idle"
    thread = (await scene.get(f"/v1/sessions/{session}/threads"))["data"][0]["id"]
    await scene.send(session, {**INTERRUPT, "session_thread_id": thread})
    assert await scene.shown() == []


@requirement("events:interrupt:back-off")
async def test_a_session_in_its_back_off_stops_waiting(scene: Scene) -> None:
    busy = fails(529, "overloaded_error", headers={"retry-after": "30"})
    await scene.answers(busy, says("next"))
    session = await scene.session()
    await scene.send(session, message())
    await scene.until(session, "session.status_rescheduled")
    assert (await scene.retrieve(session))["status"] == "rescheduling"
    async with asyncio.timeout(5):
        await scene.send(session, INTERRUPT)
        log = await scene.idle(session)
    assert log[-1]["stop_reason"] == END_TURN and len(await scene.shown()) == 1
    log = await scene.turn(session)
    assert text_of(of_type(log, "agent.message")[0]) == "next"


@requirement("events:interrupt:next", "events:queue")
async def test_messages_behind_an_interrupt_start_the_next_turn(scene: Scene) -> None:
    await scene.answers(says(["half", scene.gate("never")]), says("after"))
    session = await scene.session()
    await scene.send(session, message("one"))
    await scene.shown(1)
    await scene.send(session, message("two"))
    await scene.send(session, INTERRUPT, message("three"))
    log = await scene.idle(session, 2)
    idles = of_type(log, "session.status_idle")
    assert [event["stop_reason"] for event in idles] == [END_TURN] * 2
    first_end = log.index(idles[0])
    assert log.index(of_type(log, "user.interrupt")[0]) < first_end
    texts = [text_of(event) for event in of_type(log[first_end:], "user.message")]
    assert texts == ["two", "three"]
    assert text_of(of_type(log, "agent.message")[0]) == "after"


@requirement("events:interrupt:next", "events:interrupt:waiting")
async def test_an_interrupt_and_a_message_in_one_request_redirect_a_waiting_session(scene: Scene) -> None:
    await scene.answers(calls(("weather", {"city": "Oslo"})), says("changed"))
    session = await scene.session(CUSTOM)
    await scene.turn(session)
    await scene.send(session, INTERRUPT, message("never mind"))
    log = await scene.idle(session, 3)
    assert log[-1]["stop_reason"] == END_TURN
    assert text_of(of_type(log, "agent.message")[0]) == "changed"


@requirement("events:interrupt:next", "events:settle:partial")
async def test_an_interrupt_behind_the_last_answer_stops_the_turn_it_resumed(scene: Scene) -> None:
    await scene.answers(calls(("weather", {"city": "Oslo"})), says([scene.gate("never"), "late"]))
    session = await scene.session(CUSTOM)
    [use] = (await scene.turn(session))[-1]["stop_reason"]["event_ids"]
    answer = {"type": "user.custom_tool_result", "custom_tool_use_id": use}
    await scene.send(session, answer, INTERRUPT)
    log = await scene.idle(session, 2)
    assert log[-1]["stop_reason"] == END_TURN
    assert log.index(of_type(log, "user.custom_tool_result")[0]) < log.index(of_type(log, "user.interrupt")[0])
    assert not of_type(log, "agent.message")
