"""One turn, event by event (spec B.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Literal

import pytest

from agents.brains.port import BrainRequest
from agents.brains.scripted import Hold, fail, raw_tool_use, reply, text, thinking, tool_use
from agents.errors import Conflict, InvalidRequest, NotFound
from agents.hands.port import ToolResult
from agents.ids import SessionId

from .conftest import ASK, CUSTOM, World, agent_snapshot, message, toolset

START = ["session.status_running", "session.thread_status_running"]
END = ["session.thread_status_idle", "session.usage", "session.status_idle"]


def stop_reason(log: list[dict]) -> dict:
    return [e for e in log if e["type"] == "session.status_idle"][-1]["stop_reason"]


async def test_a_text_turn_logs_its_events_in_the_documented_order(world: World) -> None:
    world.brain.add(text("hello"))
    session = await world.create()
    echo = await world.send(session, message("hi"))
    log = await world.idle(session)
    assert [e["type"] for e in log] == [
        *START, "user.message", "span.model_request_start", "agent.message", "span.model_request_end", *END,
    ]  # fmt: skip
    assert echo[0]["processed_at"] is None and echo[0]["id"] == log[2]["id"]
    assert log[4]["content"] == [{"type": "text", "text": "hello"}]
    assert log[5]["model_request_start_id"] == log[3]["id"] and log[5]["is_error"] is False
    assert stop_reason(log) == {"type": "end_turn"}
    moments = [e["processed_at"] for e in log]
    assert moments == sorted(set(moments))


async def test_a_stream_sees_the_queued_copy_first_and_nothing_before_its_commit(world: World) -> None:
    world.brain.add(text("hello"))
    session = await world.create()
    async with world.stream(session) as events:
        await world.send(session, message("hi"))
        seen = []
        async for event in events:
            seen.append(event)
            stored = await world.log(session)
            if event["processed_at"] is not None:
                assert event["id"] in {e["id"] for e in stored}
            if event["type"] == "session.status_idle":
                break
    assert seen[0]["type"] == "user.message" and seen[0]["processed_at"] is None
    assert [e["type"] for e in seen[1:]] == await world.types(session)
    assert seen[3]["id"] == seen[0]["id"] and seen[3]["processed_at"] is not None


async def test_an_allowed_tool_runs_and_its_result_goes_back_to_the_model(world: World) -> None:
    world.brain.add([text("let me look"), tool_use("bash", {"command": "ls"})], text("done"))
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert [e["type"] for e in log] == [
        *START, "user.message",
        "span.model_request_start", "agent.message", "agent.tool_use", "span.model_request_end",
        "agent.tool_result",
        "span.model_request_start", "agent.message", "span.model_request_end",
        *END,
    ]  # fmt: skip
    use = log[5]
    assert (use["evaluated_permission"], use["evaluation"]) == ("allow", {"type": "always_allow"})
    assert log[7]["tool_use_id"] == use["id"] and log[7]["is_error"] is False
    second = world.brain.requests[1].messages
    assert [m["role"] for m in second] == ["user", "assistant", "user"]
    assert second[1]["content"][1] == {
        "type": "tool_use", "id": use["id"], "name": "bash", "input": {"command": "ls"},
    }  # fmt: skip
    assert second[2]["content"][0]["tool_use_id"] == use["id"]


async def test_a_session_knows_what_of_a_request_is_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    new: list[set[int]] = []
    think = world.brain.think

    def watched(request: BrainRequest) -> AsyncIterator[dict]:
        assert request.chain is not None
        context = request.chain.follow(request.system, request.tools, request.messages)
        assert context is not None
        new.append(set(context.fresh))
        return think(request)

    monkeypatch.setattr(world.brain, "think", watched)
    world.brain.add([text("let me look"), tool_use("bash", {"command": "ls"})], text("done"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.idle(session)
    assert new == [{0, 1}, {2, 3}], "what was answered, and the result"


async def test_an_answer_without_content_ends_the_turn_instead_of_being_asked_for_again(world: World) -> None:
    world.brain.add(reply(), text("awake"))
    session = await world.create()
    await world.send(session, message("hi"))
    log = await world.idle(session)
    assert stop_reason(log) == {"type": "end_turn"} and len(world.brain.requests) == 1
    await world.send(session, message("still there?"))
    await world.idle(session, 2)
    assert len(world.brain.requests) == 2


async def test_parallel_calls_run_together_and_results_are_shown_to_the_model_in_call_order(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "1"}), tool_use("grep", {"pattern": "2"})], text("done"))
    world.hands.gates["bash"] = asyncio.Event()
    session = await world.create()
    await world.send(session, message("go"))
    await world.until(session, "agent.tool_result")
    assert [c.name for c in world.hands.calls] == ["bash", "grep"]
    world.hands.gates["bash"].set()
    log = await world.idle(session)
    uses = [e["id"] for e in log if e["type"] == "agent.tool_use"]
    results = [e["tool_use_id"] for e in log if e["type"] == "agent.tool_result"]
    assert results == uses[::-1]
    assert [b["tool_use_id"] for b in world.brain.requests[1].messages[2]["content"]] == uses


async def test_an_asked_tool_waits_for_its_confirmation_and_then_runs(world: World) -> None:
    world.brain.add(tool_use("bash", {"command": "rm x"}), text("done"))
    session = await world.create(toolset(bash=ASK))
    await world.send(session, message("go"))
    log = await world.idle(session)
    use = next(e for e in log if e["type"] == "agent.tool_use")
    assert use["evaluated_permission"] == "ask"
    assert stop_reason(log) == {"type": "requires_action", "event_ids": [use["id"]]}
    assert not world.hands.calls
    async with world.stream(session) as events:
        allowed = {"type": "user.tool_confirmation", "tool_use_id": use["id"], "result": "allow"}
        echo = await world.send(session, allowed)
        first = await anext(events)
    assert echo[0]["processed_at"] is None and first["id"] == echo[0]["id"]
    log = await world.idle(session, 2)
    place = [e["id"] for e in log].index(echo[0]["id"])
    assert [e["type"] for e in log[place - 2 : place + 2]] == [
        *START, "user.tool_confirmation", "agent.tool_result",
    ]  # fmt: skip
    assert stop_reason(log) == {"type": "end_turn"}
    assert [c.call_id for c in world.hands.calls] == [use["id"]]


async def test_a_denied_tool_never_runs_and_the_model_reads_the_words(world: World) -> None:
    world.brain.add(tool_use("bash", {"command": "rm x"}), text("ok"))
    session = await world.create(toolset(bash=ASK))
    await world.send(session, message("go"))
    use = next(e for e in await world.idle(session) if e["type"] == "agent.tool_use")
    denial = {"type": "user.tool_confirmation", "tool_use_id": use["id"], "result": "deny", "deny_message": "too risky"}
    await world.send(session, denial)
    log = await world.idle(session, 2)
    result = next(e for e in log if e["type"] == "agent.tool_result")
    assert result["is_error"] is True and "too risky" in result["content"][0]["text"]
    assert not world.hands.calls


async def test_partial_answers_list_the_remainder_again_and_all_of_them_resume_the_turn(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "x"}), tool_use("weather", {"city": "Oslo"})], text("done"))
    session = await world.create(toolset(bash=ASK), CUSTOM)
    await world.send(session, message("go"))
    log = await world.idle(session)
    bash = next(e["id"] for e in log if e["type"] == "agent.tool_use")
    custom = next(e["id"] for e in log if e["type"] == "agent.custom_tool_use")
    assert stop_reason(log)["event_ids"] == [bash, custom]
    content = [{"type": "text", "text": "7 C"}]
    result = {"type": "user.custom_tool_result", "custom_tool_use_id": custom, "content": content}
    echo = await world.send(session, result)
    assert echo[0]["processed_at"] is not None
    log = await world.idle(session, 2)
    assert stop_reason(log) == {"type": "requires_action", "event_ids": [bash]}
    await world.send(session, {"type": "user.tool_confirmation", "tool_use_id": bash, "result": "allow"})
    log = await world.idle(session, 3)
    assert stop_reason(log) == {"type": "end_turn"}
    assert [b["tool_use_id"] for b in world.brain.requests[1].messages[2]["content"]] == [bash, custom]


async def test_a_custom_result_may_come_before_the_session_is_idle(world: World) -> None:
    world.brain.add([tool_use("bash", {}), tool_use("weather", {})], text("done"))
    gate = world.hands.gates["bash"] = asyncio.Event()
    session = await world.create(toolset(), CUSTOM)
    await world.send(session, message("go"))
    log = await world.until(session, "agent.custom_tool_use")
    custom = next(e["id"] for e in log if e["type"] == "agent.custom_tool_use")
    await world.send(session, {"type": "user.custom_tool_result", "custom_tool_use_id": custom})
    gate.set()
    log = await world.idle(session)
    assert stop_reason(log) == {"type": "end_turn"}
    assert sum(e["type"] == "session.status_idle" for e in log) == 1


async def test_messages_sent_during_a_turn_wait_and_are_taken_up_in_order(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add(text("one", Hold(gate)), text("two"))
    session = await world.create()
    await world.send(session, message("first"))
    await world.brain.asked(1)
    second = await world.send(session, message("second"))
    third = await world.send(session, message("third"))
    snapshot = await world.store.log.load(session)
    assert [e.id for e in snapshot.queued] == [second[0]["id"], third[0]["id"]]
    assert snapshot.record.queued == 2
    gate.set()
    log = await world.idle(session)
    assert [e["content"][0]["text"] for e in log if e["type"] in ("user.message", "agent.message")] == [
        "first", "one", "second", "third", "two",
    ]  # fmt: skip
    assert [m["role"] for m in world.brain.requests[1].messages] == ["user", "assistant", "user"]
    assert (await world.record(session)).queued == 0


async def test_an_interrupt_of_an_idle_session_changes_nothing_else(world: World) -> None:
    session = await world.create()
    echo = await world.send(session, {"type": "user.interrupt"})
    assert await world.types(session) == ["user.interrupt"]
    assert echo[0]["processed_at"] is not None


async def test_an_interrupt_stops_a_model_response_at_once(world: World) -> None:
    world.brain.add(text("never ", Hold(asyncio.Event()), "ends"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.brain.asked(1)
    await world.send(session, {"type": "user.interrupt"})
    log = await world.idle(session)
    assert [e["type"] for e in log] == [
        *START, "user.message", "span.model_request_start", "span.model_request_end", "user.interrupt", *END,
    ]  # fmt: skip
    assert log[4]["is_error"] is True and stop_reason(log) == {"type": "end_turn"}
    assert world.brain.closed_early == 1


async def test_an_interrupt_during_tools_closes_every_call_with_an_error(world: World) -> None:
    world.brain.add([tool_use("bash", {}), tool_use("weather", {})])
    world.hands.gates["bash"] = asyncio.Event()
    session = await world.create(toolset(), CUSTOM)
    await world.send(session, message("go"))
    await world.hands.started(1)
    await world.send(session, {"type": "user.interrupt"})
    log = await world.idle(session)
    closed = [e for e in log if e["type"] in ("agent.tool_result", "user.custom_tool_result")]
    assert len(closed) == 2 and all(e["is_error"] for e in closed)
    assert stop_reason(log) == {"type": "end_turn"} and len(world.hands.cancelled) == 1


async def test_an_interrupt_clears_a_wait_for_the_client(world: World) -> None:
    world.brain.add(tool_use("bash", {}), text("fresh"))
    session = await world.create(toolset(bash=ASK))
    await world.send(session, message("go"))
    use = next(e["id"] for e in await world.idle(session) if e["type"] == "agent.tool_use")
    await world.send(session, {"type": "user.interrupt"}, message("again"))
    log = await world.idle(session, 3)
    assert stop_reason(log) == {"type": "end_turn"}
    with pytest.raises(InvalidRequest):
        await world.send(session, {"type": "user.tool_confirmation", "tool_use_id": use, "result": "allow"})


async def test_messages_after_an_interrupt_start_the_next_turn(world: World) -> None:
    world.brain.add(text("x", Hold(asyncio.Event())), text("next"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.brain.asked(1)
    await world.send(session, {"type": "user.interrupt"}, message("instead"))
    log = await world.idle(session, 2)
    assert [e["type"] for e in log].count("session.status_running") == 2
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert [b["text"] for b in world.brain.requests[1].messages[0]["content"]] == ["go", "instead"]


async def test_a_transient_failure_reschedules_and_the_request_is_made_again(world: World) -> None:
    world.brain.add(fail("overloaded", "busy"), text("fine"))
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.until(session, "session.thread_status_rescheduled")
    error = next(e for e in log if e["type"] == "session.error")["error"]
    assert (error["type"], error["retry_status"]) == ("model_overloaded_error", {"type": "retrying"})
    assert (await world.record(session)).status == "rescheduling"
    await world.sleepers(2)
    world.clock.advance(100)
    log = await world.idle(session)
    assert stop_reason(log) == {"type": "end_turn"}
    assert [e["is_error"] for e in log if e["type"] == "span.model_request_end"] == [True, False]


async def test_a_fatal_failure_ends_the_turn_and_flushes_what_waits(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add([text("x", Hold(gate)), fail("request_failed", "bad", transient=False)])
    session = await world.create()
    await world.send(session, message("go"))
    await world.brain.asked(1)
    await world.send(session, message("waiting"))
    gate.set()
    log = await world.idle(session)
    assert [e["type"] for e in log][-6:] == [
        "span.model_request_end", "session.error", "user.message", *END,
    ]  # fmt: skip
    assert stop_reason(log) == {"type": "retries_exhausted"}
    assert next(e for e in log if e["type"] == "session.error")["error"]["retry_status"] == {"type": "exhausted"}
    assert not [e for e in log if e["type"] == "agent.message"], "half a message never existed"


async def test_retries_stop_at_the_configured_number_of_attempts(world: World) -> None:
    attempts = world.settings.brain.max_attempts
    world.brain.add(*[fail() for _ in range(attempts)])
    session = await world.create()
    await world.send(session, message("go"))
    for done in range(1, attempts):
        await world.until(session, "session.thread_status_rescheduled", done)
        await world.sleepers(2)
        world.clock.advance(100)
    log = await world.idle(session)
    assert stop_reason(log) == {"type": "retries_exhausted"}
    statuses = [e["error"]["retry_status"]["type"] for e in log if e["type"] == "session.error"]
    assert statuses == ["retrying"] * (attempts - 1) + ["exhausted"]


async def test_an_interrupt_ends_a_back_off(world: World) -> None:
    world.brain.add(fail())
    session = await world.create()
    await world.send(session, message("go"))
    await world.until(session, "session.thread_status_rescheduled")
    await world.send(session, {"type": "user.interrupt"})
    assert stop_reason(await world.idle(session)) == {"type": "end_turn"}


async def test_a_disabled_tool_is_refused_before_any_policy(world: World) -> None:
    world.brain.add(tool_use("bash", {"command": "x"}), text("ok"))
    session = await world.create(toolset(bash={"enabled": False}))
    await world.send(session, message("go"))
    log = await world.idle(session)
    use = next(e for e in log if e["type"] == "agent.tool_use")
    assert use["evaluated_permission"] == "deny" and "evaluation" not in use
    assert next(e for e in log if e["type"] == "agent.tool_result")["is_error"] is True
    assert "bash" not in [tool["name"] for tool in world.brain.requests[0].tools]
    assert not world.hands.calls


async def test_tool_input_that_is_no_object_becomes_an_error_result(world: World) -> None:
    world.brain.add(raw_tool_use("bash", '{"command": '), text("ok"))
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert next(e for e in log if e["type"] == "agent.tool_use")["input"] == {}
    assert next(e for e in log if e["type"] == "agent.tool_result")["is_error"] is True
    assert not world.hands.calls


async def test_a_lost_sandbox_is_an_error_result_and_the_session_goes_on(world: World) -> None:
    world.brain.add(tool_use("bash", {}), text("ok"))
    world.hands.fault = RuntimeError("host died")
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert next(e for e in log if e["type"] == "agent.tool_result")["is_error"] is True
    assert stop_reason(log) == {"type": "end_turn"}


async def test_thinking_is_a_mark_to_clients_and_goes_back_to_the_model_whole(world: World) -> None:
    world.brain.add([thinking("hmm"), tool_use("bash", {})], text("ok"))
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.idle(session)
    mark = next(e for e in log if e["type"] == "agent.thinking")
    assert set(mark) == {"id", "type", "processed_at"}
    first = world.brain.requests[1].messages[1]["content"][0]
    assert first == {"type": "thinking", "thinking": "hmm", "signature": "signed"}


async def test_a_refusal_ends_the_turn_with_its_details(world: World) -> None:
    world.brain.add(reply(text("no"), stop_reason="refusal", stop_details={"type": "refusal", "category": "cyber"}))
    session = await world.create()
    await world.send(session, message("go"))
    idle = (await world.idle(session))[-1]
    assert idle["stop_reason"] == {"type": "refusal"}
    assert idle["stop_details"] == {"type": "refusal", "category": "cyber", "explanation": None}


async def test_too_many_rounds_end_the_turn(world: World) -> None:
    from .conftest import make_world

    small = make_world(harness={"max_tool_rounds": 2})
    await small.harness.start()
    small.brain.add(tool_use("bash", {}), tool_use("bash", {}))
    session = await small.create()
    await small.send(session, message("go"))
    log = await small.idle(session)
    assert stop_reason(log) == {"type": "retries_exhausted"}
    assert next(e for e in log if e["type"] == "session.error")["error"]["type"] == "tool_use_limit_reached_error"
    await small.harness.stop()


async def test_usage_is_summed_over_requests_and_reported_before_idle(world: World) -> None:
    world.brain.add(tool_use("bash", {}), text("ok"))
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.idle(session)
    usage = log[-2]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (20, 10)
    spans = [e["model_usage"] for e in log if e["type"] == "span.model_request_end"]
    assert sum(s["input_tokens"] for s in spans) == 20
    await world.quiet()
    totals = {(t.kind.value, t.name): t.count for t in await world.meter.totals(session)}
    assert totals == {("model_request", "claude-test"): 2, ("tool_call", "bash"): 1}


async def test_previews_announce_the_id_of_the_event_that_follows(world: World) -> None:
    world.brain.add([thinking("a"), text("Hel", "lo")])
    session = await world.create()
    async with world.stream(session, "agent.message", "agent.thinking") as events:
        await world.send(session, message("go"))
        seen = []
        async for event in events:
            seen.append(event)
            if event["type"] == "session.status_idle":
                break
    starts = [e["event"] for e in seen if e["type"] == "event_start"]
    final = {e["id"]: e for e in seen if e["type"] in ("agent.message", "agent.thinking")}
    assert [(s["type"], s["id"] in final) for s in starts] == [("agent.thinking", True), ("agent.message", True)]
    deltas = [e for e in seen if e["type"] == "event_delta"]
    assert "".join(d["delta"]["content"]["text"] for d in deltas) == "Hello"
    assert {d["event_id"] for d in deltas} == {starts[1]["id"]}


async def test_streams_that_did_not_ask_see_no_previews(world: World) -> None:
    world.brain.add(text("Hel", "lo"))
    session = await world.create()
    async with world.stream(session, "agent.message"), world.stream(session) as plain:
        await world.send(session, message("go"))
        async for event in plain:
            assert not event["type"].startswith("event_")
            if event["type"] == "session.status_idle":
                break


async def test_repeating_an_accepted_answer_is_harmless_and_another_answer_is_refused(world: World) -> None:
    world.brain.add(tool_use("weather", {}), text("ok"))
    session = await world.create(CUSTOM)
    await world.send(session, message("go"))
    log = await world.idle(session)
    custom = next(e["id"] for e in log if e["type"] == "agent.custom_tool_use")
    answer = {"type": "user.custom_tool_result", "custom_tool_use_id": custom, "content": []}
    first = await world.send(session, answer)
    await world.idle(session, 2)
    assert await world.send(session, answer) == first
    with pytest.raises(InvalidRequest, match="different answer"):
        await world.send(session, {**answer, "is_error": True})
    with pytest.raises(InvalidRequest, match="not an open tool use"):
        await world.send(session, {**answer, "custom_tool_use_id": "sevt_nothing"})


async def test_a_bad_event_in_a_request_keeps_the_others_out(world: World) -> None:
    session = await world.create()
    with pytest.raises(InvalidRequest, match=r"events\[1\]"):
        await world.send(
            session, message("hi"), {"type": "user.tool_confirmation", "tool_use_id": "sevt_x", "result": "allow"}
        )
    assert await world.types(session) == []
    assert (await world.record(session)).queued == 0


async def test_initial_events_start_the_first_turn(world: World) -> None:
    world.brain.add(text("hello"))
    session = await world.create(initial=[message("hi")])
    assert (await world.types(session))[:3] == [*START, "user.message"]
    await world.idle(session)


async def test_archive_terminates_and_then_nothing_is_accepted(world: World) -> None:
    session = await world.create()
    record = await world.harness.archive(session)
    assert record.status == "terminated" and record.archived_at is not None
    assert await world.types(session) == ["session.thread_status_terminated", "session.status_terminated"]
    assert (await world.harness.archive(session)).archived_at == record.archived_at
    with pytest.raises(Conflict):
        await world.send(session, message("hi"))


async def test_a_running_session_can_be_neither_archived_nor_deleted(world: World) -> None:
    world.brain.add(text("x", Hold(asyncio.Event())))
    session = await world.create()
    await world.send(session, message("go"))
    for refuse in (world.harness.archive, world.harness.delete):
        with pytest.raises(InvalidRequest):
            await refuse(session)


async def test_delete_ends_streams_and_leaves_nothing(world: World) -> None:
    session = await world.create()
    async with world.stream(session) as events:
        await world.harness.delete(session)
        assert [e["type"] async for e in events] == ["session.deleted"]
    with pytest.raises(NotFound):
        await world.send(session, message("hi"))


async def test_update_reports_only_what_changed(world: World) -> None:
    session = await world.create()
    await world.harness.update(session, {"title": "T", "metadata": {"a": "1", "b": "2"}})
    await world.harness.update(session, {"title": "T", "metadata": {"a": None}})
    await world.harness.update(session, {"title": "T"})
    log = await world.log(session)
    assert [{k: v for k, v in e.items() if k not in ("id", "processed_at", "type")} for e in log] == [
        {"title": "T", "metadata": {"a": "1", "b": "2"}},
        {"metadata": {"b": "2"}},
    ]


async def test_an_update_of_tools_reaches_the_copies_of_the_agent_on_its_roster(world: World) -> None:
    record = world.new_record(toolset())
    other = {**agent_snapshot(toolset()), "id": "agent_2"}
    copy = {key: value for key, value in record.agent.items() if key != "multiagent"}
    roster = {"type": "coordinator", "agents": [other, copy, {"type": "advisor", "model": "claude-opus-5"}]}
    await world.harness.create(replace(record, agent={**record.agent, "multiagent": roster}), [])
    tools = [toolset(bash={"enabled": False})]
    await world.harness.update(SessionId(record.id), {"agent": {"tools": tools}})
    kept = (await world.record(SessionId(record.id))).agent
    assert kept["tools"] == tools
    assert kept["multiagent"]["agents"] == [other, {**copy, "tools": tools}, roster["agents"][2]]


async def test_updates_at_once_leave_no_toolset_without_its_server(world: World) -> None:
    mcp = {"type": "mcp_toolset", "mcp_server_name": "crm", "default_config": {}, "configs": []}
    server = {"type": "url", "name": "crm", "url": "https://crm.test/mcp"}
    record = world.new_record(toolset())
    await world.harness.create(replace(record, agent={**record.agent, "mcp_servers": [server]}), [])
    session = SessionId(record.id)
    await world.harness.update(session, {"agent": {"tools": [toolset(), mcp]}})
    with pytest.raises(InvalidRequest, match="crm"):
        await world.harness.update(session, {"agent": {"mcp_servers": []}})  # judged before the other had come
    assert (await world.record(session)).agent["mcp_servers"] == [server]


async def test_a_retry_of_a_post_is_answered_from_memory(world: World) -> None:
    world.brain.add(text("once"), text("twice"))
    session = await world.create()
    first = await world.harness.send(session, [message("hi")], repeat_key="0:abc")
    again = await world.harness.send(session, [message("hi")], repeat_key="1:abc")
    assert again == first
    log = await world.idle(session)
    assert sum(e["type"] == "user.message" for e in log) == 1


async def test_a_new_owner_goes_on_where_the_log_ends(world: World) -> None:
    world.brain.add(text("half", Hold(asyncio.Event())), text("whole"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.brain.asked(1)
    successor = world.another_harness()
    await successor.start()
    await world.brain.asked(2)
    async with asyncio.timeout(5):
        while (await world.record(session)).status != "idle":
            await asyncio.sleep(0)
    log = await world.log(session)
    assert [e["content"][0]["text"] for e in log if e["type"] == "agent.message"] == ["whole"]
    assert sum(e["type"] == "span.model_request_start" for e in log) == 1
    await successor.stop()


async def test_a_new_owner_runs_a_call_whose_result_is_missing_with_the_same_id(world: World) -> None:
    world.brain.add(tool_use("bash", {}), text("ok"))
    world.hands.gates["bash"] = asyncio.Event()
    session = await world.create()
    await world.send(session, message("go"))
    await world.hands.started(1)
    successor = world.another_harness()
    await successor.start()
    await world.hands.started(2)
    world.hands.gates["bash"].set()
    async with asyncio.timeout(5):
        while (await world.record(session)).status != "idle":
            await asyncio.sleep(0)
    assert len({c.call_id for c in world.hands.calls}) == 1
    assert sum(e["type"] == "agent.tool_result" for e in await world.log(session)) == 1
    await successor.stop()


async def test_the_sandbox_result_reaches_the_log_as_blocks(world: World) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    world.hands.answer = lambda call: ToolResult(call.call_id, [image])
    world.brain.add(tool_use("read", {"file_path": "x.png"}), text("ok"))
    session = await world.create()
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert next(e for e in log if e["type"] == "agent.tool_result")["content"] == [image]


async def test_an_update_tells_of_the_agent_what_clients_are_shown_of_it(world: World) -> None:
    skill = {"type": "custom", "skill_id": "skill_1", "version": "skillver_1"}
    record = world.new_record(toolset())
    kept = {**skill, "name": "tidy", "description": "Tidies up.", "size": 7}
    await world.harness.create(replace(record, agent={**record.agent, "skills": [kept]}), [])
    session = SessionId(record.id)
    await world.harness.update(session, {"agent": {"tools": [CUSTOM, toolset()]}})
    [event] = await world.log(session)
    assert event["type"] == "session.updated" and event["agent"]["tools"] == [CUSTOM, toolset()]
    assert event["agent"]["skills"] == [skill]
    assert (await world.record(session)).agent["skills"] == [kept]


async def test_what_an_interrupt_stops_cleans_up_undisturbed_whatever_the_session_commits_meanwhile(
    world: World,
) -> None:
    """Bug class this catches: the end of a brain's stream, or of tools under way, is cut off by somebody's commit."""
    closing, gate, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Stream(asyncio.Event):
        async def wait(self) -> Literal[True]:
            try:
                return await super().wait()
            finally:
                closing.set()
                await gate.wait()
                closed.set()

    world.brain.add([Hold(Stream())])
    session = await world.create()
    await world.send(session, message("go"))
    await world.brain.asked(1)
    await world.send(session, {"type": "user.interrupt"})
    await asyncio.wait_for(closing.wait(), 5)
    await world.send(session, {"type": "user.interrupt"})
    gate.set()
    await world.idle(session)
    assert closed.is_set()
