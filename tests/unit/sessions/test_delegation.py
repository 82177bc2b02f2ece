"""A coordinator hands work to other agents, each in a thread of its own (spec A.6, B.3 "Threads", C.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agents.brains.port import BrainRequest
from agents.brains.scripted import Hold, Scripted, fail, reply, text, tool_use
from agents.errors import Conflict, InvalidRequest
from agents.ids import SessionId
from agents.sessions.delegation import MAX_THREADS
from agents.sessions.events import Event
from agents.sessions.log import Commit
from agents.sessions.state import SessionState

from .conftest import CUSTOM, World, agent_snapshot, make_world, message

HELPER = {**agent_snapshot(CUSTOM), "id": "agent_2", "name": "helper", "system": "You help."}
ROUNDS = 6
ASKS = tool_use("weather", {"city": "Ulm"})


def delegate(words: str, agent: str = "helper") -> Any:
    return tool_use("create_agent", {"agent": agent, "message": words})


def said(request: BrainRequest) -> str:
    """The last text that the model was told."""
    return request.messages[-1]["content"][-1].get("text", "")


def by_agent(coordinator: Callable[[BrainRequest], Scripted], helper: Callable[[BrainRequest], Scripted]) -> Any:
    return lambda request: helper(request) if request.system.startswith("You help.") else coordinator(request)


async def started(world: World, *roster: dict[str, Any]) -> SessionId:
    record = world.new_record(CUSTOM)
    agent = {**record.agent, "multiagent": {"type": "coordinator", "agents": list(roster or (HELPER,))}}
    await world.harness.create(replace(record, agent=agent), [message("go")])
    return SessionId(record.id)


async def events(world: World, session: SessionId) -> list[Event]:
    return list((await world.store.log.load(session)).events)


async def children(world: World, session: SessionId) -> list[str]:
    return list(SessionState.restore(await world.store.log.load(session)).threads)[1:]


def of(log: list[Event], thread: str | None) -> list[str]:
    return [event.type.value for event in log if event.thread == thread]


def once_told(answer: str) -> Callable[[BrainRequest], Scripted]:
    """A coordinator that delegates at first, waits, and ends with *answer* when it has heard of its helper."""

    def speak(request: BrainRequest) -> Scripted:
        if said(request) == "go":
            return reply(delegate("count"))
        last = request.messages[-1]["content"]
        heard = any(block.get("text", "").startswith("Message from helper") for block in last)
        return reply(text(answer)) if heard else reply(text("waiting"))

    return speak


async def test_work_that_is_delegated_comes_back_to_the_coordinator_who_goes_on(world: World) -> None:
    world.brain._by = by_agent(once_told("three, they say"), lambda request: reply(text("three")))
    session = await started(world)
    await world.idle(session)
    await world.quiet()
    log, [child] = await events(world, session), await children(world, session)
    assert of(log, child) == [
        "session.thread_status_running",
        "agent.thread_message_received",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "agent.thread_message_sent",
        "session.thread_status_idle",
    ]
    primary = [each for each in of(log, None) if each.startswith(("agent.", "session."))]
    assert [each for each in primary if "session.status_" in each] == ["session.status_running", "session.status_idle"]
    assert primary[-3:] == ["session.thread_status_idle", "session.usage", "session.status_idle"]
    [created] = [event for event in log if event.type == "session.thread_created"]
    assert created.wire() == {
        "id": created.id,
        "type": "session.thread_created",
        "session_thread_id": child,
        "agent_name": "helper",
        "processed_at": created.wire()["processed_at"],
    }
    told = [event.body for event in log if event.type == "agent.thread_message_received"]
    record = await world.record(session)
    assert told == [
        {"from_session_thread_id": record.thread_id, "content": [{"type": "text", "text": "count"}]},
        {
            "from_session_thread_id": child,
            "from_agent_name": "helper",
            "content": [{"type": "text", "text": "three"}],
        },
    ]
    assert [event.type.value for event in log if event.crossposted] == [
        "session.thread_status_running",
        "session.thread_status_idle",
    ]
    assert "three, they say" in [event.body["content"][0]["text"] for event in log if event.type == "agent.message"]


async def test_a_thread_has_a_context_and_tools_of_its_own(world: World) -> None:
    world.brain._by = by_agent(once_told("done"), lambda request: reply(text("three")))
    session = await started(world)
    await world.idle(session)
    requests = world.brain.requests
    [helped] = [request for request in requests if request.system == "You help."]
    assert [each["role"] for each in helped.messages] == ["user"] and said(helped) == "count"
    assert {tool["name"] for tool in helped.tools} == {"weather"}
    assert {tool["name"] for tool in requests[0].tools} == {"weather", "list_agents", "create_agent", "send_to_agent"}


async def test_the_session_runs_while_any_thread_does(world: World) -> None:
    gate = asyncio.Event()
    world.brain._by = by_agent(once_told("done"), lambda request: reply(text("three", Hold(gate))))
    session = await started(world)
    log = await world.until(session, "session.thread_status_idle")
    assert "session.status_idle" not in [event["type"] for event in log]
    assert (await world.record(session)).status.value == "running"
    gate.set()
    assert (await world.idle(session))[-1]["stop_reason"] == {"type": "end_turn"}


async def test_threads_work_side_by_side(world: World) -> None:
    gate = asyncio.Event()

    def coordinator(request: BrainRequest) -> Scripted:
        return reply(delegate("one"), delegate("two")) if said(request) == "go" else reply(text("noted"))

    world.brain._by = by_agent(coordinator, lambda request: reply(text("done", Hold(gate))))
    session = await started(world)
    await world.until(session, "session.thread_status_running", 3)
    async with asyncio.timeout(5):
        while sum(request.system == "You help." for request in world.brain.requests) < 2:
            await asyncio.sleep(0)
    gate.set()
    await world.idle(session)
    assert len(await children(world, session)) == 2


async def test_a_call_that_needs_the_client_is_shown_with_the_primary_and_answered_there(world: World) -> None:
    def helper(request: BrainRequest) -> Scripted:
        if said(request) == "count":
            return reply(tool_use("weather", {"city": "Ulm"}))
        return reply(text("sunny"))

    world.brain._by = by_agent(once_told("sunny, they say"), helper)
    session = await started(world)
    log, [child] = await world.idle(session), await children(world, session)
    [use] = [event for event in await events(world, session) if event.type == "agent.custom_tool_use"]
    assert (use.thread, use.crossposted, use.body["session_thread_id"]) == (child, True, child)
    assert log[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [use.id]}
    answer = {"type": "user.custom_tool_result", "custom_tool_use_id": use.id, "content": []}
    [echo] = await world.send(session, answer)
    assert echo["session_thread_id"] == child
    assert await world.send(session, answer) == [echo]
    assert (await world.idle(session, 2))[-1]["stop_reason"] == {"type": "end_turn"}


async def test_a_childs_call_that_is_closed_is_closed_where_clients_look(world: World) -> None:
    """Bug class this catches: a tool runner, which reads the session alone, runs a call again that was interrupted."""
    world.brain._by = by_agent(once_told("done"), lambda request: reply(tool_use("weather", {"city": "Ulm"})))
    session = await started(world)
    await world.idle(session)
    [child] = await children(world, session)
    await world.send(session, {"type": "user.interrupt", "session_thread_id": child})
    await world.idle(session, 2)
    [closed] = [event for event in await events(world, session) if event.type == "user.custom_tool_result"]
    assert (closed.thread, closed.crossposted, closed.body["session_thread_id"]) == (child, True, child)


async def test_a_named_thread_is_interrupted_alone_and_none_by_name_means_all(world: World) -> None:
    gate = asyncio.Event()
    world.brain._by = by_agent(once_told("done"), lambda request: reply(text("three", Hold(gate))))
    session = await started(world)
    await world.until(session, "session.thread_status_idle")
    [child] = await children(world, session)
    with pytest.raises(InvalidRequest):
        await world.send(session, {"type": "user.interrupt", "session_thread_id": "sthr_other"})
    await world.send(session, {"type": "user.interrupt", "session_thread_id": child})
    await world.idle(session)
    log = await events(world, session)
    assert of(log, child)[-3:] == ["span.model_request_end", "user.interrupt", "session.thread_status_idle"]
    await world.send(session, message("go"))
    await world.until(session, "session.thread_status_running", 4)
    await world.send(session, {"type": "user.interrupt"})
    await world.idle(session, 2)
    state = SessionState.restore(await world.store.log.load(session))
    assert all(not thread.busy and not thread.queue for thread in state.threads.values())


def two_that_ask(*calls: Any) -> Any:
    """A coordinator with two helpers, each of whom makes these calls at first."""

    def coordinator(request: BrainRequest) -> Scripted:
        return reply(delegate("one"), delegate("two")) if said(request) == "go" else reply(text("noted"))

    return by_agent(
        coordinator, lambda request: reply(text("done")) if len(request.messages) > 1 else reply(*(calls or (ASKS,)))
    )


async def test_an_interrupt_of_all_that_wait_is_one_rest_after_all_that_it_stops(world: World) -> None:
    """Bug class this catches: a client is asked for a call that the same interrupt has closed; an event after idle."""
    world.brain._by = two_that_ask()
    session = await started(world)
    await world.until(session, "agent.custom_tool_use", 2)
    await world.quiet()
    before = len(await world.log(session))
    await world.send(session, {"type": "user.interrupt"})
    after = (await world.log(session))[before:]
    assert [event["type"] for event in after if not event["type"].startswith("session.thread")] == [
        *("user.interrupt", "user.custom_tool_result") * 2,
        "user.interrupt",
        "session.usage",
        "session.status_idle",
    ]
    assert after[-1]["stop_reason"] == {"type": "end_turn"}


@pytest.mark.parametrize(
    "answer",
    [
        (delegate("count"),),
        (text("no"), "refusal"),
        (fail("request_failed", transient=False),),
    ],
    ids=["delegates", "refuses", "fails"],
)
async def test_an_answer_that_comes_while_an_interrupt_is_stored_ends_nothing_and_begins_nothing(
    world: World, answer: tuple[Any, ...]
) -> None:
    """Bug class this catches: a helper is created that nobody stops; the interrupt stays, and stops the next turn."""
    gate, door, storing, append = asyncio.Event(), asyncio.Event(), asyncio.Event(), world.store.log.append
    item, *stop = answer
    world.brain.add(reply(Hold(gate), item, stop_reason=stop[0] if stop else None), text("again"))

    async def slow(commit: Commit) -> None:
        if any(event.type == "user.interrupt" for event in commit.queue):
            storing.set()
            await door.wait()
        await append(commit)

    session = await started(world)
    await world.brain.asked(1)
    world.store.log.append = slow  # type: ignore[method-assign]
    interrupt = asyncio.create_task(world.send(session, {"type": "user.interrupt"}))
    await asyncio.wait_for(storing.wait(), 5)
    gate.set()
    for _ in range(50):
        await asyncio.sleep(0)
    door.set()
    await interrupt
    assert (await world.idle(session))[-1]["stop_reason"] == {"type": "end_turn"}
    assert not await children(world, session)
    await world.send(session, message("and now?"))
    assert "again" in str((await world.idle(session, 2))[-5:])


@pytest.mark.parametrize("waits", [False, True])
async def test_an_interrupt_stops_a_coordinator_for_whom_a_childs_message_waits(world: World, waits: bool) -> None:
    """Bug class this catches: the client stops everything, and in the same commit the next turn starts."""
    gate = asyncio.Event()
    at_work, held = (reply(ASKS), [Hold(gate)]) if waits else (reply(text("thinking", Hold(gate))), [])

    def coordinator(request: BrainRequest) -> Scripted:
        return reply(delegate("count")) if said(request) == "go" else at_work

    world.brain._by = by_agent(coordinator, lambda request: reply(text("three", *held)))
    session = await started(world)
    if waits:
        await world.until(session, "agent.custom_tool_use")
        gate.set()
    await world.until(session, "session.thread_status_idle", 1 + waits)
    await world.send(session, {"type": "user.interrupt"})
    log = await world.idle(session)
    await world.quiet()
    assert len(await world.log(session)) == len(log)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert "three" in str([event for event in log if event["type"] == "agent.thread_message_received"][-1])


async def test_a_session_that_goes_on_with_one_thread_does_not_rest_with_what_another_still_misses(
    world: World,
) -> None:
    world.brain._by = two_that_ask(ASKS, ASKS)
    session = await started(world)
    await world.until(session, "agent.custom_tool_use", 4)
    await world.quiet()
    log = await world.log(session)
    first, second, *others = [event["id"] for event in log if event["type"] == "agent.custom_tool_use"]
    given = [{"type": "user.custom_tool_result", "custom_tool_use_id": each} for each in (first, *others)]
    await world.send(session, *given)
    after = [event for event in (await world.log(session))[len(log) :] if event["type"].startswith("session.status")]
    assert [event["type"] for event in after][:1] == ["session.status_running"]
    await world.quiet()
    last = (await world.log(session))[-1]
    assert last["stop_reason"] == {"type": "requires_action", "event_ids": [second]}


async def test_a_child_that_cannot_go_on_is_terminated_and_the_coordinator_told(world: World) -> None:
    world.brain._by = by_agent(once_told("a pity"), lambda request: fail("request_failed", transient=False))
    session = await started(world)
    log = await world.idle(session)
    [child] = await children(world, session)
    with pytest.raises(InvalidRequest):
        await world.harness.archive_thread(session, child)
    ended = [event for event in await events(world, session) if event.type == "session.thread_status_terminated"]
    assert [(event.thread, event.crossposted) for event in ended] == [(child, True)]
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert "could not go on" in str([event for event in log if event["type"] == "agent.thread_message_received"])


async def test_nothing_is_logged_of_a_thread_whose_session_is_archived(world: World) -> None:
    world.brain._by = by_agent(once_told("done"), lambda request: reply(text("three")))
    session = await started(world)
    await world.idle(session)
    await world.quiet()
    [child] = await children(world, session)
    archived = await world.harness.archive(session)
    with pytest.raises(Conflict):
        await world.harness.archive_thread(session, child)
    assert await world.record(session) == archived


async def test_no_more_threads_than_the_limit(world: World) -> None:
    def coordinator(request: BrainRequest) -> Scripted:
        if said(request) == "go":
            return reply(*(delegate(f"task {number}") for number in range(MAX_THREADS + 1)))
        return reply(text("noted"))

    world.brain._by = by_agent(coordinator, lambda request: reply(text("done")))
    session = await started(world)
    await world.idle(session)
    await world.quiet()
    assert len(await children(world, session)) == MAX_THREADS
    results = [event for event in await events(world, session) if event.type == "agent.tool_result"]
    assert [event.body["is_error"] for event in results] == [False] * MAX_THREADS + [True]


async def test_threads_that_have_ended_are_counted_and_hold_next_to_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug class this catches: a coordinator whose helpers fail creates threads, and keeps their contexts, for ever."""
    monkeypatch.setattr("agents.sessions.delegation.MAX_CREATED", 2)

    def coordinator(request: BrainRequest) -> Scripted:
        return reply(delegate("one"), delegate("two")) if said(request) == "go" else reply(text("noted"))

    world.brain._by = by_agent(coordinator, lambda request: fail("request_failed", transient=False))
    session = await started(world)
    await world.idle(session)
    await world.quiet()
    await world.send(session, message("go"))
    await world.idle(session, 2)
    await world.quiet()
    results = [event.body for event in await events(world, session) if event.type == "agent.tool_result"]
    assert [result["is_error"] for result in results] == [False, False, True, True]
    assert "limit" in results[-1]["content"][0]["text"]
    runner = await world.harness._runners.get(session)
    ended = list(runner.state.threads.values())[1:]
    assert len(ended) == 2 and not any(thread.conversation.messages for thread in ended)
    assert list(runner._turns) == [runner.state.primary.id]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (tool_use("create_agent", {"agent": "nobody", "message": "x"}), "helper"),
        (tool_use("create_agent", {"agent": "helper"}), "message"),
        (tool_use("send_to_agent", {"thread_id": "sthr_none", "message": "x"}), "list_agents"),
    ],
)
async def test_a_call_that_makes_no_sense_is_told_so(world: World, call: Any, word: str) -> None:
    world.brain.add(reply(call), text("I see"))
    session = await started(world)
    await world.idle(session)
    [result] = [event for event in await events(world, session) if event.type == "agent.tool_result"]
    assert result.body["is_error"] and word in result.body["content"][0]["text"]


async def test_a_new_owner_goes_on_with_every_thread(world: World) -> None:
    gate = asyncio.Event()
    world.brain._by = by_agent(once_told("done"), lambda request: reply(text("three", Hold(gate))))
    session = await started(world)
    await world.until(session, "session.thread_status_idle")
    next_owner = world.another_harness()
    await next_owner.start()
    gate.set()
    async with asyncio.timeout(5):
        while (await world.record(session)).status.value != "idle":
            await asyncio.sleep(0)
    assert (await world.record(session)).stop_reason == {"type": "end_turn"}
    await next_owner.stop()


async def test_agents_that_only_talk_to_each_other_are_stopped_and_the_client_may_go_on() -> None:
    small = make_world(harness={"max_tool_rounds": ROUNDS})
    await small.harness.start()

    def coordinator(request: BrainRequest) -> Scripted:
        if said(request) == "go":
            return reply(delegate("ping"))
        told = str(request.messages[-1]["content"])
        if "enough" in told:
            return reply(text("fine"))
        if "Message from helper" not in told:
            return reply(text("waiting"))
        thread = told.split("(thread ")[1].split(")")[0]
        return reply(tool_use("send_to_agent", {"thread_id": thread, "message": "ping"}))

    small.brain._by = by_agent(coordinator, lambda request: reply(text("pong")))
    session = await started(small)
    log = await small.idle(session)
    await small.quiet()
    assert log[-1]["stop_reason"] == {"type": "retries_exhausted"}
    assert "limit" in [event["error"]["message"] for event in log if event["type"] == "session.error"][-1]
    asked = sum(request.system != "You help." for request in small.brain.requests)
    assert asked <= ROUNDS + 1
    await small.send(session, message("enough"))
    log = await small.idle(session, 2)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    await small.harness.stop()


async def test_an_advisor_is_asked_again_by_the_next_owner_and_is_not_of_the_limit(world: World) -> None:
    gate = asyncio.Event()

    def coordinator(request: BrainRequest) -> Scripted:
        if said(request) != "go":
            return reply(text("noted"))
        question = tool_use("ask_advisor", {"question": "which?"})
        return reply(question, *(delegate(f"task {number}") for number in range(MAX_THREADS)))

    def others(request: BrainRequest) -> Scripted:
        return reply(text("this one", Hold(gate))) if "advise" in (request.system or "") else reply(text("done"))

    world.brain._by = lambda request: (
        others(request) if (request.system or "").startswith("You ") else coordinator(request)
    )
    session = await started(world, HELPER, {"type": "advisor", "model": "claude-other"})
    await world.until(session, "session.thread_status_idle", MAX_THREADS)
    next_owner = world.another_harness()
    await next_owner.start()
    gate.set()
    async with asyncio.timeout(5):
        while (await world.record(session)).status.value != "idle":
            await asyncio.sleep(0)
    state = SessionState.restore(await world.store.log.load(session))
    [advised] = [thread for thread in state.threads.values() if thread.advises]
    assert advised.status.value == "terminated" and len(state.threads) == 2 + MAX_THREADS
    log = await events(world, session)
    assert [kind for kind in of(log, advised.id) if kind.startswith("agent.")] == [
        "agent.thread_message_received",
        "agent.message",
        "agent.thread_message_sent",
    ]
    assert {request.model for request in world.brain.requests if "advise" in (request.system or "")} == {"claude-other"}
    await next_owner.stop()
