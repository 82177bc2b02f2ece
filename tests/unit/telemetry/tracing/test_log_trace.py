"""A turn's trace says what its log says, whoever owned the session meanwhile, and whatever was sampled (ours)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

import pytest

from agents.brains.port import BrainRequest
from agents.brains.scripted import Hold, Scripted, fail, reply, text, tool_use
from agents.errors import Unavailable
from agents.hands.port import ToolResult
from agents.ids import SessionId, new_event_id
from agents.sessions.events import Event, EventType
from agents.sessions.harness import Harness
from agents.sessions.log import Commit
from agents.telemetry.tracing.context import TraceContext, handing_on
from agents.telemetry.tracing.ids import span_id_of, trace_id_of
from agents.telemetry.tracing.log_spans import tool_attributes
from agents.telemetry.tracing.spans import Span
from tests.unit.sessions.conftest import CUSTOM, World, agent_snapshot, make_world, message, toolset
from tests.unit.telemetry.tracing.collected import Collected, counts_of_log, counts_of_spans


def traced(**settings: Any) -> tuple[World, Collected]:
    made, collected = make_world(), Collected(**settings)
    made.ports = replace(made.ports, tracing=collected)
    made.harness = Harness(made.ports, owner="harness-0")
    return made, collected


@pytest.fixture
async def all_kept() -> AsyncIterator[tuple[World, Collected]]:
    made, collected = traced()
    await made.harness.start()
    yield made, collected
    await made.harness.stop()


async def taken_over(world: World) -> Harness:
    """Another owner takes the session up; returns the one before, which does not know it yet."""
    world.harness, first = world.another_harness(), world.harness
    await world.harness.start()
    return first


async def ended(world: World, session_id: SessionId) -> list[dict[str, Any]]:
    async with asyncio.timeout(5):
        while "session.status_idle" not in await world.types(session_id):
            await asyncio.sleep(0)
    return await world.log(session_id)


def with_id(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "id": new_event_id()}


async def test_the_evaluation_of_an_outcome_has_its_span_in_the_trace_of_its_turn(
    all_kept: tuple[World, Collected],
) -> None:
    world, collected = all_kept
    world.brain.add([text("work")], [text("<result>satisfied</result><explanation>good</explanation>")])
    session_id = await world.create()
    outcome = {"type": "user.define_outcome", "description": "d", "rubric": {"type": "text", "content": "r"}}
    await world.send(session_id, {**outcome, "id": new_event_id(), "max_iterations": 3, "outcome_id": "outc_1"})
    log = await world.idle(session_id)
    await world.quiet()
    [turn], [graded] = collected.named("invoke_agent"), collected.named("evaluate_outcome")
    assert turn.trace_id == trace_id_of(session_id, log[0]["id"]) == graded.trace_id
    assert graded.parent_id == turn.span_id and graded.error is None
    assert graded.attributes["hecaton.outcome.result"] == "satisfied"
    assert graded.attributes["gen_ai.usage.input_tokens"] == 10


async def test_every_request_call_and_change_of_state_has_its_span_in_the_trace_of_its_turn(
    all_kept: tuple[World, Collected],
) -> None:
    world, collected = all_kept
    world.brain.add(
        [tool_use("bash", {"command": "secret words"}), tool_use("read", {"file_path": "x"})], [text("done")]
    )
    session_id = await world.create()
    said = with_id(message("secret words"))
    await world.send(session_id, said)
    log = await world.idle(session_id)
    await world.quiet()
    assert counts_of_spans(collected.spans) == counts_of_log(log) == {"chat": 2, "tool": 2, "status": 2, "turn": 1}
    [turn] = collected.named("invoke_agent")
    assert turn.trace_id == trace_id_of(session_id, said["id"])
    assert turn.parent_id == span_id_of(turn.trace_id, said["id"])  # the gateway's, which knows it by itself
    assert {span.trace_id for span in collected.spans} == {turn.trace_id}
    assert {span.parent_id for span in collected.spans if span is not turn} == {turn.span_id}
    assert {span.attributes["gen_ai.conversation.id"] for span in collected.spans} == {session_id}
    [first, last] = collected.named("chat claude-test")
    assert first.attributes["gen_ai.operation.name"] == "chat"
    assert first.attributes["gen_ai.provider.name"] == "replay"
    assert first.attributes["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert last.attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    uses = [event["id"] for event in log if event["type"] == "agent.tool_use"]
    calls = [span for span in collected.spans if span.name.startswith("execute_tool")]
    assert {span.attributes["gen_ai.tool.call.id"] for span in calls} == set(uses)
    assert {span.name for span in calls} == {"execute_tool bash", "execute_tool read"}
    events = sum(int(str(span.attributes["hecaton.log.events"])) for span in collected.named("append"))
    assert events == len(log)
    assert "secret words" not in repr(collected.spans)


async def test_an_owner_that_goes_on_with_a_turn_goes_on_with_its_trace(all_kept: tuple[World, Collected]) -> None:
    world, collected = all_kept
    world.brain.add([tool_use("bash", {"command": "ls"})], [text("done")])
    world.hands.gates["bash"] = gate = asyncio.Event()
    session_id = await world.create()
    said = with_id(message("go"))
    await world.send(session_id, said)
    await world.hands.started(1)
    assert not collected.spans
    first = await taken_over(world)
    gate.set()
    log = await ended(world, session_id)
    await world.quiet()
    assert counts_of_spans(collected.spans) == counts_of_log(log)
    assert {span.trace_id for span in collected.spans} == {trace_id_of(session_id, said["id"])}
    assert len(collected.named("invoke_agent")) == 1
    await first.stop()


async def test_a_turns_end_that_was_committed_unheard_is_told_all_the_same(
    all_kept: tuple[World, Collected], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, collected = all_kept
    append = world.store.log.append

    async def lose_the_answer(commit: Commit) -> None:
        await append(commit)
        if any(event.type is EventType.SESSION_IDLE for event in commit.events):
            raise Unavailable("the connection was lost")

    monkeypatch.setattr(world.store.log, "append", lose_the_answer)
    world.brain.add([text("done")])
    session_id = await world.create()
    await world.send(session_id, message("go"))
    await world.sleepers(2)  # its return, beside the lease's heartbeat
    assert not collected.spans
    world.clock.advance(1)
    async with asyncio.timeout(5):
        while not collected.named("invoke_agent"):
            await asyncio.sleep(0)
    assert counts_of_spans(collected.spans) == counts_of_log(await world.log(session_id))


async def test_the_trace_of_a_client_is_gone_on_with_also_by_another_owner(all_kept: tuple[World, Collected]) -> None:
    world, collected = all_kept
    world.brain.add([tool_use("bash", {"command": "ls"})], [text("done")])
    world.hands.gates["bash"] = gate = asyncio.Event()
    session_id = await world.create()
    with handing_on(TraceContext(0xABC, 0xDEF, True)):
        await world.send(session_id, with_id(message("go")))
    await world.hands.started(1)
    first = await taken_over(world)
    gate.set()
    log = await ended(world, session_id)
    await world.quiet()
    assert {span.trace_id for span in collected.spans} == {0xABC}
    assert all("traceparent" not in event for event in log)
    await first.stop()


async def test_a_custom_tools_call_ends_in_the_trace_that_it_began_in(all_kept: tuple[World, Collected]) -> None:
    world, collected = all_kept
    world.brain.add([tool_use("weather", {"city": "Oslo"})], [text("cold")])
    session_id = await world.create(toolset(), CUSTOM)
    await world.send(session_id, with_id(message("go")))
    log = await world.idle(session_id)
    [use] = [event["id"] for event in log if event["type"] == "agent.custom_tool_use"]
    result = {"type": "user.custom_tool_result", "custom_tool_use_id": use, "content": [{"type": "text", "text": "1"}]}
    answered = with_id(result)
    await world.send(session_id, answered)
    log = await world.idle(session_id, 2)
    await world.quiet()
    assert counts_of_spans(collected.spans) == counts_of_log(log)
    asking, answering = collected.named("invoke_agent")
    assert answering.trace_id == trace_id_of(session_id, answered["id"])
    [call] = collected.named("execute_tool weather")
    assert (call.trace_id, call.parent_id) == (asking.trace_id, asking.span_id)
    assert (call.attributes["gen_ai.tool.type"], call.attributes["hecaton.hand"]) == ("function", "custom")


async def test_of_turns_that_are_not_chosen_only_failed_and_slow_ones_are_kept() -> None:
    world, collected = traced(ratio=0, slow_seconds=30)
    await world.harness.start()
    try:
        world.brain.add([text("fine")])
        session_id = await world.create()
        await world.send(session_id, message("fine"))
        await world.idle(session_id)
        await world.quiet()
        assert not collected.spans
        world.hands.answer = lambda call: ToolResult.error(call.call_id, "no such file")
        world.brain.add([tool_use("read", {"file_path": "x"})], [text("oh")])
        await world.send(session_id, message("fails"))
        await world.idle(session_id, 2)
        await world.quiet()
        [failed] = [span for span in collected.spans if span.error]
        assert (failed.name, failed.error) == ("execute_tool read", "tool_error")
        assert len(collected.named("invoke_agent")) == 1 == len(collected.exceptional)
        world.hands.answer = lambda call: ToolResult(call.call_id, [])
        world.hands.gates["bash"] = gate = asyncio.Event()
        world.brain.add([tool_use("bash", {"command": "x"})], [text("at last")])
        await world.send(session_id, message("slow"))
        await world.hands.started(2)
        world.clock.advance(31)
        gate.set()
        await world.idle(session_id, 3)
        await world.quiet()
        assert len(collected.named("invoke_agent")) == 2
    finally:
        await world.harness.stop()


async def test_a_failing_model_is_an_error_with_its_kind_and_the_turn_that_gives_up_is_one(
    all_kept: tuple[World, Collected],
) -> None:
    world, collected = all_kept
    world.brain.add(fail(transient=False))
    session_id = await world.create()
    await world.send(session_id, message("go"))
    await world.idle(session_id)
    await world.quiet()
    [chat] = collected.named("chat claude-test")
    [turn] = collected.named("invoke_agent")
    assert chat.error not in (None, "interrupted")
    assert turn.error == "retries_exhausted"


async def test_a_turn_with_more_spans_than_there_is_room_for_counts_what_it_drops() -> None:
    world, collected = traced(max_spans_per_turn=10)
    await world.harness.start()
    try:
        world.brain.add([tool_use("bash", {"command": str(each)}) for each in range(20)], [text("done")])
        session_id = await world.create()
        await world.send(session_id, message("go"))
        await world.idle(session_id)
        await world.quiet()
        [turn] = collected.named("invoke_agent")
        assert len(collected.spans) == 11
        assert turn.attributes["hecaton.dropped_spans"] == collected.figures["trace_spans_dropped"] > 10
    finally:
        await world.harness.stop()


async def test_an_archived_session_has_a_span_for_its_last_state(all_kept: tuple[World, Collected]) -> None:
    world, collected = all_kept
    session_id = await world.create()
    await world.harness.archive(session_id)
    [state] = collected.named("session.status")
    assert state.attributes["hecaton.session.status"] == "terminated"


def named_once(spans: Iterable[Span]) -> set[tuple[int, int, str]]:
    """What spans are, apart from what only the owner knew that made them first."""
    return {(span.trace_id, span.span_id, span.name) for span in spans if span.name != "append"}


async def all_sorts(world: World) -> list[SessionId]:
    """A session whose tool failed, one that waits for its client, one that is archived, and one in mid-turn."""
    world.hands.answer = lambda call: ToolResult.error(call.call_id, "no such file")
    world.brain.add([tool_use("read", {"file_path": "x"})], [text("oh")])
    failed = await world.create()
    await world.send(failed, with_id(message("go")))
    await world.idle(failed)
    world.brain.add([tool_use("weather", {"city": "Oslo"}), tool_use("weather", {"city": "Rome"})])
    asking = await world.create(toolset(), CUSTOM)
    await world.send(asking, with_id(message("go")))
    log = await world.idle(asking)
    use = next(event["id"] for event in log if event["type"] == "agent.custom_tool_use")
    await world.send(asking, with_id({"type": "user.custom_tool_result", "custom_tool_use_id": use}))
    await world.idle(asking, 2)
    archived = await world.create()
    await world.harness.archive(archived)
    world.hands.gates["bash"] = asyncio.Event()
    world.brain.add([tool_use("bash", {"command": "ls"})], [text("done")])
    running = await world.create()
    await world.send(running, with_id(message("go")))
    await world.hands.started(2)
    return [failed, asking, archived, running]


async def test_what_a_killed_owner_had_not_written_is_told_again_under_the_same_ids(
    all_kept: tuple[World, Collected],
) -> None:
    world, collected = all_kept
    sessions = await all_sorts(world)
    lost = named_once(collected.spans)
    collected.spans.clear()
    first = await taken_over(world)
    world.hands.gates["bash"].set()
    await ended(world, sessions[-1])
    await world.quiet()
    logs = [event for each in sessions for event in await world.log(each)]
    expected = counts_of_log(logs)
    expected["turn"] -= 1  # the client's half answer made the session idle once more, within no turn
    expected["tool"] -= 1  # and its other half is awaited
    async with asyncio.timeout(5):
        while counts_of_spans(collected.spans) != expected:
            await asyncio.sleep(0)
    assert lost < named_once(collected.spans)
    once = len(named_once(collected.spans))
    assert once == len([span for span in collected.spans if span.name != "append"])
    await first.stop()


async def test_what_was_written_long_before_a_death_and_what_was_handed_over_is_not_told_again(
    all_kept: tuple[World, Collected],
) -> None:
    world, collected = all_kept
    world.brain.add([text("one")], [text("two")])
    long_ago = await world.create()
    await world.send(long_ago, message("go"))
    await world.idle(long_ago)
    await world.quiet()
    collected.spans.clear()
    world.clock.advance(60)
    await world.sleepers(1)
    first = await taken_over(world)
    lately = await world.create()
    await world.send(lately, message("go"))
    await world.idle(lately)
    await world.quiet()
    assert {span.attributes["gen_ai.conversation.id"] for span in collected.spans} == {lately}
    told = len(collected.spans)
    await world.harness.stop()
    world.harness = Harness(world.ports, owner="harness-1")
    await world.harness.start()
    world.brain.add([text("three")])
    await world.send(long_ago, message("again"))
    await world.idle(long_ago, 2)
    await world.quiet()
    assert {span.attributes["gen_ai.conversation.id"] for span in collected.spans[told:]} == {long_ago}
    await first.stop()


@pytest.mark.parametrize(("environment", "hand"), [("cloud", "sandbox"), ("self_hosted", "worker")])
def test_a_call_says_whether_our_sandbox_or_a_worker_elsewhere_ran_it(environment: str, hand: str) -> None:
    record = replace(make_world().new_record(), environment={"type": environment})
    event = Event(new_event_id(), EventType.AGENT_TOOL_USE, {"name": "bash", "input": {}}, record.created_at)
    assert tool_attributes(record, event)["hecaton.hand"] == hand


async def test_requests_of_threads_that_overlap_have_their_own_times_models_and_reasons(
    all_kept: tuple[World, Collected],
) -> None:
    world, collected = all_kept
    gate = asyncio.Event()
    helper = {**agent_snapshot(), "id": "agent_2", "name": "helper", "system": "You help."}
    helper["model"] = {**helper["model"], "id": "claude-other"}

    def answer(request: BrainRequest) -> Scripted:
        if (request.system or "").startswith("You help."):
            return reply(text("three", Hold(gate)))
        if len(request.messages) == 1:
            return reply(tool_use("create_agent", {"agent": "helper", "message": "count"}))
        return reply(text("noted"))

    world.brain._by = answer
    record = world.new_record()
    agent = {**record.agent, "multiagent": {"type": "coordinator", "agents": [helper]}}
    session_id = SessionId((await world.harness.create(replace(record, agent=agent), [message("go")])).id)
    await world.until(session_id, "session.thread_status_idle")
    world.clock.advance(2)
    gate.set()
    await world.idle(session_id)
    await world.quiet()
    log = (await world.store.log.load(session_id)).events
    [child] = {event.thread for event in log} - {None}
    [helped] = collected.named("chat claude-other")
    assert helped.attributes["hecaton.thread.id"] == child
    assert helped.attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert helped.end - helped.start >= 1_000_000
    own = collected.named("chat claude-test")
    assert len(own) == 3 and all("hecaton.thread.id" not in span.attributes for span in own)
    assert [span.attributes["gen_ai.response.finish_reasons"] for span in own] == [
        ("tool_use",),
        ("end_turn",),
        ("end_turn",),
    ]
    assert all(span.end - span.start < 1_000_000 for span in own)
