"""What waits for the client: custom tools and confirmations (spec B.3, C.3, H-6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import (
    ASK,
    CUSTOM,
    END,
    REQUEST,
    START,
    Json,
    Scene,
    bash,
    calls,
    message,
    of_type,
    says,
    text_of,
    toolset,
)

OSLO = ("weather", {"city": "Oslo"})


def result(call_id: str, text: str | None = "7 C", **more: Any) -> Json:
    content = {"content": [{"type": "text", "text": text}]} if text is not None else {}
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call_id, **content, **more}


def decide(call_id: str, verdict: str = "allow", **more: Any) -> Json:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": verdict, **more}


def ids(log: list[Json], kind: str) -> list[str]:
    return [event["id"] for event in of_type(log, kind)]


def blocking(log: list[Json]) -> list[str]:
    reason = log[-1]["stop_reason"]
    assert reason["type"] == "requires_action", reason
    assert log[-3]["stop_reason"] == reason
    return reason["event_ids"]


def last_content(shown: list[Json]) -> list[Json]:
    content = shown[-1]["messages"][-1]["content"]
    return [{key: value for key, value in block.items() if key != "cache_control"} for block in content]


@requirement("events:custom:round-trip")
async def test_a_custom_tool_blocks_until_its_result_and_then_goes_on(scene: Scene) -> None:
    await scene.answers(calls(OSLO), says("cold"))
    session = await scene.session(CUSTOM)
    log = await scene.turn(session)
    [use] = of_type(log, "agent.custom_tool_use")
    assert (use["name"], use["input"]) == OSLO
    assert blocking(log) == [use["id"]]
    before = len(log)
    [echo] = await scene.send(session, result(use["id"]))
    assert echo["processed_at"] is not None
    log = (await scene.idle(session, 2))[before:]
    assert [event["type"] for event in log] == ["user.custom_tool_result", *START, *REQUEST, *END]
    assert log[0] == echo
    assert last_content(await scene.shown(2)) == [
        {"type": "tool_result", "tool_use_id": use["id"], "content": [{"type": "text", "text": "7 C"}]}
    ]


@requirement("events:custom:early", "events:settle:while-waiting")
async def test_a_custom_result_may_come_before_the_idle_event(scene: Scene) -> None:
    await scene.answers(calls(OSLO, bash("until [ -e go ]; do sleep 0.02; done")), says("both"), says("more"))
    session = await scene.session(CUSTOM, toolset())
    await scene.send(session, message())
    log = await scene.until(session, "agent.custom_tool_use")
    [use] = ids(log, "agent.custom_tool_use")
    [echo] = await scene.send(session, result(use))
    assert echo["processed_at"] is not None
    assert (await scene.retrieve(session))["status"] == "running"
    await scene.send(session, {"type": "user.interrupt"})
    log = await scene.idle(session)
    assert not [e for e in of_type(log, "session.status_idle") if e["stop_reason"]["type"] == "requires_action"]


@requirement("events:custom:early")
async def test_an_early_result_lets_the_turn_end_without_a_wait(scene: Scene) -> None:
    await scene.answers(calls(OSLO, bash("sleep 0.4")), says("both"))
    session = await scene.session(CUSTOM, toolset())
    await scene.send(session, message())
    [use] = ids(await scene.until(session, "agent.custom_tool_use"), "agent.custom_tool_use")
    await scene.send(session, result(use))
    log = await scene.idle(session)
    assert [event["stop_reason"]["type"] for event in of_type(log, "session.status_idle")] == ["end_turn"]
    assert [block["type"] for block in last_content(await scene.shown(2))] == ["tool_result"] * 2


@requirement("events:custom:error")
async def test_errors_and_empty_results_reach_the_model(scene: Scene) -> None:
    await scene.answers(calls(OSLO, OSLO), says("sorry"))
    session = await scene.session(CUSTOM)
    failed, empty = blocking(await scene.turn(session))
    await scene.send(session, result(failed, "no such city", is_error=True), result(empty, None))
    await scene.idle(session, 2)
    blocks = last_content(await scene.shown(2))
    assert blocks[0]["is_error"] is True and blocks[0]["content"][0]["text"] == "no such city"
    assert not blocks[1].get("is_error") and blocks[1]["tool_use_id"] == empty


@requirement("events:confirm:allow")
async def test_an_asked_call_runs_once_it_is_allowed(scene: Scene) -> None:
    await scene.answers(calls(bash("echo ran")), says("done"))
    session = await scene.session(toolset(bash=ASK))
    log = await scene.turn(session)
    [use] = of_type(log, "agent.tool_use")
    assert (use["evaluated_permission"], use["evaluation"]) == ("ask", {"type": "always_ask"})
    assert blocking(log) == [use["id"]] and not of_type(log, "agent.tool_result")
    before = len(log)
    async with scene.stream(session) as stream:
        [echo] = await scene.send(session, decide(use["id"]))
        assert echo["processed_at"] is None
        await stream.until("session.status_idle")
    assert stream.events[0] == echo
    log = (await scene.log(session))[before:]
    kinds = [event["type"] for event in log]
    assert kinds == [*START, "user.tool_confirmation", "agent.tool_result", *REQUEST, *END]
    assert log[2]["id"] == echo["id"] and log[2]["processed_at"]
    assert text_of(log[3]) == "ran" and log[3]["is_error"] is False


@requirement("events:confirm:deny")
async def test_a_denied_call_never_runs_and_the_model_reads_why(scene: Scene) -> None:
    await scene.answers(
        calls(bash("touch /workspace/ran")), says("ok"), calls(("glob", {"pattern": "*"})), says("none")
    )
    session = await scene.session(toolset(bash=ASK))
    [use] = blocking(await scene.turn(session))
    await scene.send(session, decide(use, "deny", deny_message="too risky today"))
    log = await scene.idle(session, 2)
    [event] = of_type(log, "agent.tool_result")
    assert event["is_error"] is True and "too risky today" in text_of(event)
    [block] = last_content(await scene.shown(2))
    assert block["is_error"] is True and "too risky today" in str(block["content"])
    looked = of_type(await scene.turn(session), "agent.tool_result")
    assert "ran" not in text_of(looked[0])


@requirement("events:confirm:rules", "events:answers:unknown")
async def test_confirmations_and_results_must_fit_their_call(scene: Scene) -> None:
    await scene.answers(calls(bash("true"), OSLO, ("glob", {"pattern": "*"})), says("done"))
    session = await scene.session(toolset(bash=ASK), CUSTOM)
    log = await scene.turn(session)
    asked, custom = blocking(log)
    free = next(e["id"] for e in of_type(log, "agent.tool_use") if e["name"] == "glob")
    for event in (
        decide(asked, "allow", deny_message="x"),
        decide(custom),
        decide(free),
        decide("sevt_none"),
        result(asked),
        result("sevt_none"),
        result(log[0]["id"]),
    ):
        await scene.refused(session, event)
    assert await scene.log(session) == log
    other = await scene.session(CUSTOM)
    await scene.refused(other, result(custom))


@requirement("events:settle:partial")
async def test_settling_some_lists_the_remainder_and_settling_all_resumes(scene: Scene) -> None:
    await scene.answers(calls(bash("echo a"), OSLO, bash("echo b")), says("done"))
    session = await scene.session(toolset(bash=ASK), CUSTOM)
    first, custom, second = blocking(await scene.turn(session))
    await scene.send(session, result(custom))
    assert blocking(await scene.idle(session, 2)) == [first, second]
    await scene.send(session, decide(second))
    log = await scene.idle(session, 3)
    assert blocking(log) == [first]
    assert not of_type(log, "agent.tool_result") and len(await scene.shown()) == 1
    await scene.send(session, decide(first, "deny"))
    log = await scene.idle(session, 4)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    results = {event["tool_use_id"]: event for event in of_type(log, "agent.tool_result")}
    assert results[first]["is_error"] and text_of(results[second]) == "b"
    assert [block["tool_use_id"] for block in last_content(await scene.shown(2))] == [first, custom, second]


@requirement("events:settle:partial", "events:send:batch")
async def test_all_answers_in_one_request_resume_at_once(scene: Scene) -> None:
    await scene.answers(calls(bash("echo a"), OSLO), says("done"))
    session = await scene.session(toolset(bash=ASK), CUSTOM)
    asked, custom = blocking(await scene.turn(session))
    await scene.send(session, decide(asked), result(custom))
    log = await scene.idle(session, 2)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert len(of_type(log, "session.status_idle")) == 2


@requirement("events:settle:while-waiting")
async def test_a_message_sent_while_blocked_waits_for_the_answers(scene: Scene) -> None:
    await scene.answers(calls(OSLO), says("done"))
    session = await scene.session(CUSTOM)
    [use] = blocking(await scene.turn(session, message("one")))
    [echo] = await scene.send(session, message("two"))
    assert (await scene.retrieve(session))["status"] == "idle"
    assert (await scene.log(session))[-1] == echo and echo["processed_at"] is None
    await scene.send(session, result(use))
    await scene.idle(session, 2)
    assert [block["type"] for block in last_content(await scene.shown(2))] == ["tool_result", "text"]


@requirement("events:answers:repeat")
@pytest.mark.parametrize("late", [False, True], ids=["while-waiting", "after-the-turn"])
async def test_an_exact_repeat_is_harmless_and_another_answer_refused(scene: Scene, late: bool) -> None:
    await scene.answers(calls(OSLO, bash("true")), says("done"))
    session = await scene.session(toolset(bash=ASK), CUSTOM)
    custom, asked = blocking(await scene.turn(session))
    [first] = await scene.send(session, result(custom))
    await scene.idle(session, 2)
    if late:
        await scene.send(session, decide(asked))
        await scene.idle(session, 3)
    before = await scene.log(session)
    assert await scene.send(session, result(custom)) == [first]
    await scene.refused(session, result(custom, "9 C"))
    await scene.refused(session, result(custom, is_error=True))
    if late:
        [again] = await scene.send(session, decide(asked))
        assert again["id"] == of_type(before, "user.tool_confirmation")[0]["id"]
        await scene.refused(session, decide(asked, "deny"))
    assert await scene.log(session) == before
