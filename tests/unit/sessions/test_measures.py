"""What sessions' logs say of the platform (ours): the figures count what the log has, each thing once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainRequest
from agents.brains.scripted import Hold, fail, reply, text, tool_use
from agents.hands.port import ToolResult
from agents.ids import SessionId
from agents.sessions.events import Event, SessionRecord
from agents.sessions.harness import Harness
from agents.sessions.state import SessionState
from agents.telemetry import catalogue
from agents.telemetry.metric import Metric
from agents.telemetry.recorder import Recorder
from agents.telemetry.session_measures import SessionMeasures

from .conftest import ASK, CUSTOM, World, make_world, message, toolset


def counted(world: World, metric: Metric) -> dict[Any, float]:
    series = world.ports.metrics.recorder.snapshot().get(metric.name, {})
    return {labels[0] if len(labels) == 1 else labels: numbers[0] for labels, numbers in series.items()}


def observed(world: World, metric: Metric) -> dict[Any, tuple[float, float]]:
    """Sum and count, by labels."""
    series = world.ports.metrics.recorder.snapshot().get(metric.name, {})
    return {labels: (numbers[0], sum(numbers[1:])) for labels, numbers in series.items()}


async def test_a_turn_is_counted_from_running_to_idle(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add(text(Hold(gate), "hello"))
    session = await world.create()
    await world.send(session, message("hi"))
    await world.brain.asked(1)
    world.clock.advance(4)
    gate.set()
    await world.idle(session)
    await world.quiet()
    assert counted(world, catalogue.TURNS) == {"ended": 1}
    [(seconds, count)] = observed(world, catalogue.TURN_SECONDS).values()
    assert count == 1 and 4 <= seconds < 5


async def test_tokens_and_cost_are_those_of_the_log(world: World) -> None:
    usage = TokenUsage(input_tokens=1000, output_tokens=500, cache_read_input_tokens=70, cache_creation_5m=30)
    world.brain.add(reply(text("a"), usage=usage), reply(text("b"), usage=usage))
    session = await world.create()
    for turn in (1, 2):
        await world.send(session, message(f"hi {turn}"))
        await world.idle(session, turn)
    brain = "default@1"
    assert counted(world, catalogue.TOKENS) == {
        (brain, "input"): 2000,
        (brain, "output"): 1000,
        (brain, "cache_read"): 140,
        (brain, "cache_creation"): 60,
    }
    cost = (await world.record(session)).usage.token_cost_micro_usd
    assert counted(world, catalogue.COST) == {brain: pytest.approx(cost / 1_000_000)}
    assert counted(world, catalogue.MODEL_REQUESTS) == {(brain, "ok"): 2}
    assert observed(world, catalogue.MODEL_REQUEST_SECONDS)[brain,][1] == 2
    assert observed(world, catalogue.FIRST_TOKEN_SECONDS)[brain,][1] == 2


async def test_evaluations_are_counted_by_their_results_with_what_the_grader_cost(world: World) -> None:
    usage = TokenUsage(input_tokens=1000, output_tokens=500)
    verdict = "<result>{}</result><explanation>why</explanation>"
    for result in ("needs_revision", "satisfied"):
        world.brain.add(reply(text("work"), usage=usage), reply(text(verdict.format(result)), usage=usage))
    session = await world.create()
    outcome = {"type": "user.define_outcome", "description": "d", "rubric": {"type": "text", "content": "r"}}
    await world.send(session, {**outcome, "max_iterations": 3, "outcome_id": "outc_1"})
    await world.idle(session)
    await world.quiet()
    assert counted(world, catalogue.OUTCOME_EVALUATIONS) == {"needs_revision": 1, "satisfied": 1}
    brain = "default@1"
    assert counted(world, catalogue.MODEL_REQUESTS) == {(brain, "ok"): 4}
    assert counted(world, catalogue.TOKENS)[brain, "input"] == 4000
    cost = (await world.record(session)).usage.token_cost_micro_usd
    assert counted(world, catalogue.COST) == {brain: pytest.approx(cost / 1_000_000)}


async def test_calls_are_counted_by_who_runs_them_and_how_they_end(world: World) -> None:
    world.hands.answer = lambda call: ToolResult(
        call.call_id, [{"type": "text", "text": call.name}], is_error=call.name == "grep"
    )
    world.brain.add([tool_use("bash", {"command": "ls"}), tool_use("grep", {"pattern": "x"})], text("done"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.idle(session)
    assert counted(world, catalogue.TOOL_CALLS) == {("sandbox", "ok"): 1, ("sandbox", "error"): 1}
    assert observed(world, catalogue.TOOL_CALL_SECONDS)["sandbox",][1] == 2


async def test_a_call_that_waits_for_its_client_ends_a_turn_and_its_wait_for_permission_does_not_count(
    world: World,
) -> None:
    world.brain.add(tool_use("bash", {"command": "ls"}), text("done"))
    session = await world.create(toolset(bash=ASK))
    await world.send(session, message("go"))
    log = await world.idle(session)
    call = next(event["id"] for event in log if event["type"] == "agent.tool_use")
    world.clock.advance(1000)
    await world.send(session, {"type": "user.tool_confirmation", "tool_use_id": call, "result": "allow"})
    await world.idle(session, 2)
    assert counted(world, catalogue.TURNS) == {"requires_action": 1, "ended": 1}
    assert observed(world, catalogue.TOOL_CALL_SECONDS)["sandbox",][0] < 1


async def test_a_custom_tool_takes_as_long_as_its_client(world: World) -> None:
    world.brain.add(tool_use("weather", {"city": "Ulm"}), text("done"))
    session = await world.create(CUSTOM)
    await world.send(session, message("go"))
    log = await world.idle(session)
    call = next(event["id"] for event in log if event["type"] == "agent.custom_tool_use")
    world.clock.advance(50)
    result = {"type": "user.custom_tool_result", "custom_tool_use_id": call, "content": [], "is_error": False}
    await world.send(session, result)
    await world.idle(session, 2)
    assert counted(world, catalogue.TOOL_CALLS) == {("custom", "ok"): 1}
    assert observed(world, catalogue.TOOL_CALL_SECONDS)["custom",][0] == pytest.approx(50, abs=1)


async def test_the_same_call_with_the_same_result_again_is_a_loop(world: World) -> None:
    calls = [tool_use("bash", {"command": "ls"}) for _ in range(3)]
    world.brain.add(*calls, tool_use("bash", {"command": "pwd"}), text("done"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.idle(session)
    assert counted(world, catalogue.REPEATED_TOOL_CALLS) == {(): 2}


async def test_a_result_that_changes_is_no_loop(world: World) -> None:
    results = iter("abc")
    world.hands.answer = lambda call: ToolResult(call.call_id, [{"type": "text", "text": next(results)}])
    world.brain.add(*(tool_use("bash", {"command": "tail log"}) for _ in range(3)), text("done"))
    session = await world.create()
    await world.send(session, message("go"))
    await world.idle(session)
    assert counted(world, catalogue.REPEATED_TOOL_CALLS) == {}


async def test_an_interrupted_request_is_no_error_of_the_brain(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add(text(Hold(gate), "never"))
    session = await world.create()
    await world.send(session, message("hi"))
    await world.brain.asked(1)
    await world.send(session, {"type": "user.interrupt"})
    await world.idle(session)
    assert counted(world, catalogue.TURNS) == {"interrupted": 1}
    assert counted(world, catalogue.MODEL_REQUESTS) == {("default@1", "cancelled"): 1}
    assert counted(world, catalogue.SESSION_FAILURES) == {}


async def test_failures_are_retries_until_they_end_the_turn() -> None:
    world = make_world(brain={"max_attempts": 2, "backoff_base_seconds": 0.01})
    await world.harness.start()
    world.brain.add(fail("overloaded"), fail("overloaded"))
    session = await world.create()
    await world.send(session, message("hi"))
    await world.sleepers(2)
    world.clock.advance(10)
    await world.idle(session)
    assert counted(world, catalogue.TURNS) == {"failed": 1}
    assert counted(world, catalogue.MODEL_REQUESTS) == {("default@1", "error"): 2}
    assert counted(world, catalogue.RETRIES)["model_request"] == 1
    assert counted(world, catalogue.SESSION_FAILURES) == {(): 1}
    await world.harness.stop()


async def test_appends_are_timed_and_nothing_is_left_waiting(world: World) -> None:
    world.brain.add(text("hello"))
    session = await world.create()
    await world.send(session, message("hi"))
    await world.idle(session)
    await world.quiet()
    [(_, count)] = observed(world, catalogue.APPEND_SECONDS).values()
    assert count >= 2
    assert counted(world, catalogue.LOG_LAG) == {(): 0}


async def test_leases_and_takeovers_are_told(world: World) -> None:
    partitions = world.settings.harness.partitions
    assert counted(world, catalogue.LEASES) == {"harness-0": partitions}
    assert counted(world, catalogue.TAKEOVERS) == {(): 0}
    next_owner = world.another_harness()
    await next_owner.start()
    assert counted(world, catalogue.TAKEOVERS) == {(): partitions}
    await next_owner.stop()


async def test_what_is_open_is_measured_also_by_the_next_owner(world: World) -> None:
    world.brain.add(tool_use("weather", {"city": "Ulm"}))
    session = await world.create(CUSTOM)
    await world.send(session, message("go"))
    await world.idle(session)
    recorder = Recorder()
    state = SessionState.restore(await world.store.log.load(session))
    measures = SessionMeasures(recorder, state, "default@1")
    use = next(event for event in (await world.store.log.load(session)).events if event.type.endswith("tool_use"))
    assert use.processed_at is not None
    result = replace(
        use,
        type=type(use.type).USER_CUSTOM_TOOL_RESULT,
        body={"custom_tool_use_id": use.id, "content": [], "is_error": True},
        processed_at=use.processed_at + timedelta(seconds=9),
    )
    measures.committed(state.record, [result])
    found = recorder.snapshot()
    assert found[catalogue.TOOL_CALLS.name] == {("custom", "error"): (1.0,)}
    assert found[catalogue.TOOL_CALL_SECONDS.name]["custom",][0] == pytest.approx(9)


class Faulty:
    """Looks at sessions, and fails whenever one commits."""

    def session(self, state: SessionState) -> Faulty:
        return self

    def committed(self, record: SessionRecord, events: Sequence[Event]) -> None:
        raise RuntimeError("a fault of ours")


async def test_a_fault_of_who_looks_on_costs_no_owner_and_is_counted_and_logged_once(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(session_id: object) -> None:
        raise AssertionError(f"the state of {session_id} was lost: it is read again")

    monkeypatch.setattr(world.store.log, "load", never)
    harness = Harness(replace(world.ports, observers=[Faulty()]), owner="harness-0")
    await harness.start()
    record = world.new_record()
    world.brain.add(text("hello"))
    async with harness.watch(SessionId(record.id), previews=frozenset()) as frames, asyncio.timeout(5):
        await harness.create(record, [message("hi")])
        async for batch in frames:
            if any(frame.type == "session.status_idle" for frame in batch):
                break
    [failures] = counted(world, catalogue.OBSERVER_FAILURES).items()
    assert failures[0] == "Faulty" and failures[1] > 1
    assert len([each for each in caplog.records if "Faulty" in each.message]) == 1
    await harness.stop()


async def test_threads_are_counted_with_the_tokens_of_all_of_them(world: World) -> None:
    usage = TokenUsage(input_tokens=100)
    record = world.new_record()
    roster = [{**record.agent, "name": "helper"}, {"type": "advisor", "model": "claude-test"}]
    agent = {**record.agent, "multiagent": {"type": "coordinator", "agents": roster}}
    delegated = [
        tool_use("create_agent", {"agent": "helper", "message": "x"}),
        tool_use("create_agent", {"agent": "helper", "message": "y"}),
        tool_use("ask_advisor", {"question": "z"}),
    ]
    world.brain._by = lambda request: (
        reply(*delegated, usage=usage) if said_first(request) else reply(text("ok"), usage=usage)
    )
    session = SessionId((await world.harness.create(replace(record, agent=agent), [message("go")])).id)
    await world.idle(session)
    await world.quiet()
    assert counted(world, catalogue.THREADS) == {"agent": 2, "advisor": 1}
    used = (await world.record(session)).usage.input_tokens
    tokens = {labels[1]: value for labels, value in counted(world, catalogue.TOKENS).items() if value}
    assert used == 100 * len(world.brain.requests) and tokens["input"] == used
    assert counted(world, catalogue.TURNS) == {"ended": 1}


def said_first(request: BrainRequest) -> bool:
    return len(request.messages) == 1 and request.messages[0]["content"][-1]["text"] == "go"
