"""A turn that gets nowhere is not taken up for ever (ask 54).

Bug class this catches: a session that brings down whoever owns it, owner after owner, unseen; and the opposite,
a session that is given up although it was only unlucky.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agents.brains.grading import SYSTEM as GRADER
from agents.brains.port import BrainRequest
from agents.brains.scripted import Hold, Scripted, text, tool_use
from agents.errors import Unavailable
from agents.ids import SessionId, new_event_id
from agents.sessions.draft import Draft
from agents.sessions.events import Event, EventType, SessionStatus
from agents.sessions.harness import Harness
from agents.sessions.log import Commit
from agents.sessions.resuming import pause_before
from agents.sessions.state import SessionState
from agents.sessions.transitions import give_up_turn
from tests.unit.sessions.conftest import World, agent_snapshot, make_world, message

LIMIT = 4
EXHAUSTED = {"type": "retries_exhausted"}


class Lives:
    """One harness after the other over one store: each but the last is killed by what it does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.harness = world.harness

    async def die_and_start_again(self) -> None:
        """The old one hears of it only by being refused."""
        self.harness = self.world.harness = Harness(self.world.ports, owner="harness-0")
        await self.harness.start()

    async def settle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    async def asked(self, count: int) -> None:
        """Wait until the model was asked so often, however long the pauses before are."""
        async with asyncio.timeout(10):
            while len(self.world.brain.requests) < count:
                self.world.clock.advance(1)
                await self.settle()


@pytest.fixture
async def lives() -> Any:
    world = make_world(harness={"max_resumes": LIMIT})
    await world.harness.start()
    made = Lives(world)
    yield made
    await made.harness.stop()


def ended(log: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return [event for event in log if event["type"] == "session.status_idle"][-1]["stop_reason"]


async def deadly(lives: Lives) -> SessionId:
    """A session whose model request nobody survives, taken up as often as it may be."""
    world = lives.world
    world.brain.add(*([Hold(asyncio.Event())] for _ in range(1 + LIMIT)))
    session = await world.create()
    await world.send(session, message("go"))
    await lives.asked(1)
    for life in range(LIMIT):
        await lives.die_and_start_again()
        await lives.asked(2 + life)
    return session


async def test_a_session_that_kills_every_owner_ends_with_an_error_and_takes_new_input(lives: Lives) -> None:
    session = await deadly(lives)
    await lives.die_and_start_again()
    log = await lives.world.idle(session)
    assert len(lives.world.brain.requests) == 1 + LIMIT, "the last owner does not even try"
    assert [event["type"] for event in log[-5:]] == [
        "span.model_request_end",
        "session.error",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    error = log[-4]["error"]
    assert error["type"] == "unknown_error" and error["retry_status"] == {"type": "exhausted"}
    assert f"{LIMIT} times" in error["message"] and ended(log) == EXHAUSTED
    lives.world.brain.add(text("better"))
    await lives.world.send(session, message("again"))
    assert ended(await lives.world.idle(session, 2)) == {"type": "end_turn"}


async def test_open_calls_of_a_turn_that_is_given_up_get_results_that_do_not_pretend(lives: Lives) -> None:
    world = lives.world
    world.brain.add(tool_use("bash", {"command": "kill"}))
    world.hands.gates["bash"] = asyncio.Event()
    session = await world.create()
    await world.send(session, message("go"))
    await world.hands.started(1)
    for life in range(LIMIT):
        await lives.die_and_start_again()
        async with asyncio.timeout(10):
            while len(world.hands.calls) < 2 + life:
                world.clock.advance(1)
                await lives.settle()
    await lives.die_and_start_again()
    log = await world.idle(session)
    (result,) = [event for event in log if event["type"] == "agent.tool_result"]
    assert result["is_error"] and "may or may not have taken effect" in result["content"][0]["text"]
    assert ended(log) == EXHAUSTED and len({call.call_id for call in world.hands.calls}) == 1


async def test_whoever_gets_further_starts_to_count_anew(lives: Lives) -> None:
    world = lives.world
    answers = [Hold(asyncio.Event())]
    for _ in range(2):
        world.brain.add(*(answers for _ in range(LIMIT)), tool_use("bash", {"command": "ls"}))
    world.brain.add(text("done"))
    session = await world.create()
    await world.send(session, message("go"))
    asked = 1
    await lives.asked(asked)
    for _ in range(2):
        for _ in range(LIMIT):
            await lives.die_and_start_again()
            asked += 1
            await lives.asked(asked)
        asked += 1
        await lives.asked(asked)  # the answer came, the tool ran, and the model is asked again
    log = await world.idle(session)
    assert ended(log) == {"type": "end_turn"}


async def test_a_message_that_arrives_meanwhile_is_no_progress(lives: Lives) -> None:
    session = await deadly(lives)
    await lives.world.send(session, message("still there?"))
    await lives.die_and_start_again()
    log = await lives.world.idle(session)
    assert ended(log) == EXHAUSTED
    assert [event["type"] for event in log].count("user.message") == 2, "what waited is not lost"
    assert len(lives.world.brain.requests) == 1 + LIMIT


async def evaluated(lives: Lives, *, delegates: bool) -> SessionId:
    """A session whose outcome is being evaluated, by a grader that never answers."""
    world = lives.world
    record = world.new_record()
    helper = {**agent_snapshot(), "id": "agent_2", "name": "helper", "system": "You help."}
    multiagent = {"type": "coordinator", "agents": [helper]}

    def answer(request: BrainRequest) -> Scripted:
        if request.system == GRADER:
            return [Hold(asyncio.Event())]
        if not delegates or request.system != "Be brief." or "<outcome>" not in str(request.messages[-1]):
            return [text("poem")]
        return [tool_use("create_agent", {"agent": "helper", "message": "count"})]

    world.brain._by = answer
    wanted = {
        "type": "user.define_outcome",
        "description": "A poem.",
        "rubric": {"type": "text", "content": "It rhymes."},
        "max_iterations": 3,
        "outcome_id": "outc_1",
    }
    session = SessionId(
        (await world.harness.create(replace(record, agent={**record.agent, "multiagent": multiagent}), [])).id
    )
    await world.send(session, wanted)
    await world.until(session, "span.outcome_evaluation_start")
    return session


@pytest.mark.parametrize("delegates", [False, True])
async def test_to_say_that_an_evaluation_goes_on_is_no_progress(lives: Lives, delegates: bool) -> None:
    world = lives.world
    session = await evaluated(lives, delegates=delegates)
    for life in range(1 + LIMIT):
        async with asyncio.timeout(10):
            while (await world.types(session)).count("span.outcome_evaluation_ongoing") <= life:
                world.clock.advance(1)
                await lives.settle()
        await lives.die_and_start_again()
    log = await world.idle(session)
    assert ended(log) == EXHAUSTED
    assert [event["result"] for event in log if event["type"] == "span.outcome_evaluation_end"] == ["failed"]
    assert sum(request.system == GRADER for request in world.brain.requests) == 1 + LIMIT


async def test_an_evaluation_that_dies_of_a_fault_of_ours_ends_too(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        await lives.world.clock.sleep(40)
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("agents.sessions.grading.graded_files", broken)
    world = lives.world
    session = await evaluated(lives, delegates=False)
    async with asyncio.timeout(10):
        while "session.status_idle" not in (types := await world.types(session)):
            assert types.count("span.outcome_evaluation_ongoing") <= 3 * (1 + LIMIT)
            world.clock.advance(1)
            await lives.settle()
    assert ended(await world.log(session)) == EXHAUSTED


async def test_an_interrupt_ends_the_pause_and_the_turn(lives: Lives) -> None:
    world = lives.world
    world.brain.add([Hold(asyncio.Event())], [Hold(asyncio.Event())])
    session = await world.create()
    await world.send(session, message("go"))
    await lives.asked(1)
    for _ in range(3):
        await lives.die_and_start_again()
        await lives.settle()
    assert len(world.brain.requests) == 2, "the second attempt goes on at once, the third waits"
    await world.send(session, {"type": "user.interrupt"})
    assert ended(await world.idle(session)) == {"type": "end_turn"}


async def test_a_turn_that_dies_of_a_fault_of_ours_ends_too(lives: Lives) -> None:
    tries = 0

    def broken() -> Sequence[dict[str, Any]]:
        nonlocal tries
        tries += 1
        raise RuntimeError("a fault of ours")

    world, runners = lives.world, lives.harness._runners
    runners._ports, sound = replace(runners._ports, tool_definitions=broken), runners._ports
    session = await world.create()
    await world.send(session, message("go"))
    async with asyncio.timeout(10):
        while "session.status_idle" not in await world.types(session):
            world.clock.advance(1)
            await lives.settle()
    assert tries == 1 + LIMIT and ended(await world.log(session)) == EXHAUSTED
    assert not runners._crashes and not runners._faults
    runners._ports = sound


async def test_faults_at_one_place_after_the_other_give_nobody_up(lives: Lives) -> None:
    """The turn gets further every time."""
    world, rounds = lives.world, 2 * LIMIT
    world.brain.add(*(tool_use("bash", {"command": "ls"}) for _ in range(rounds)), text("done"))
    record, faults = world.meter.record, 0

    async def broken(rows: Sequence[Any]) -> None:
        nonlocal faults
        await record(rows)
        if rows[0].kind == "model_request":  # which is recorded behind the answer's commit
            faults += 1
            raise RuntimeError("a fault of ours")

    world.meter.record = broken  # type: ignore[method-assign]
    session = await world.create()
    await world.send(session, message("go"))
    async with asyncio.timeout(10):
        while "session.status_idle" not in await world.types(session):
            world.clock.advance(10)
            await lives.settle()
    assert ended(await world.log(session)) == {"type": "end_turn"} and faults >= rounds


async def test_an_interrupt_that_waited_when_the_turn_was_given_up_does_not_stop_the_next(lives: Lives) -> None:
    session = await deadly(lives)
    draft = Draft(SessionState.restore(await lives.world.store.log.load(session)), lives.world.clock.now())
    draft.enqueue(Event(new_event_id(), EventType.USER_INTERRUPT, {}, None))
    give_up_turn(draft, lives.harness._rules, "why")
    assert draft.state.status is SessionStatus.IDLE and not draft.state.interrupted


async def test_a_store_that_refuses_for_long_gives_nobody_up(lives: Lives) -> None:
    world = lives.world
    world.brain.add(*(text("done") for _ in range(40)))
    session, refused, append = await world.create(), 0, world.store.log.append

    async def full(commit: Commit) -> None:
        nonlocal refused
        if commit.record.id == session and commit.events and commit.events[-1].type == "session.status_idle":
            refused += 1
            raise Unavailable("the disk takes no more")
        await append(commit)

    world.store.log.append = full  # type: ignore[method-assign]
    await world.send(session, message("go"))
    async with asyncio.timeout(10):
        while refused <= 2 * LIMIT:
            world.clock.advance(10)
            await lives.settle()
    world.store.log.append = append  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        while "session.status_idle" not in await world.types(session):
            world.clock.advance(10)
            await lives.settle()
    assert ended(await world.log(session)) == {"type": "end_turn"}


def test_pauses_grow_from_none_to_a_bound_and_are_spread() -> None:
    assert [pause_before(attempt) for attempt in (0, 1)] == [0, 0]
    for attempt in range(2, 40):
        mean = min(0.1 * 2 ** (attempt - 2), 60)
        assert all(mean / 2 <= pause_before(attempt) <= mean * 1.5 for _ in range(20))
    assert len({pause_before(5) for _ in range(5)}) > 1


async def test_a_thread_that_brings_down_its_owner_is_given_up_though_another_gets_on(lives: Lives) -> None:
    world = lives.world
    helper = {**agent_snapshot(), "id": "agent_2", "name": "helper", "system": "You help."}

    def answer(request: BrainRequest) -> Scripted:
        if (request.system or "").startswith("You help."):
            return [Hold(asyncio.Event())]
        words = text("noted")
        return [words if len(request.messages) > 1 else tool_use("create_agent", {"agent": "helper", "message": "x"})]

    world.brain._by = answer
    record = world.new_record()
    agent = {**record.agent, "multiagent": {"type": "coordinator", "agents": [helper]}}
    session = SessionId((await world.harness.create(replace(record, agent=agent), [message("go")])).id)
    await world.until(session, "session.thread_status_idle")
    for life in range(LIMIT + 1):
        await lives.die_and_start_again()
        await world.send(session, message("and now?"))
        async with asyncio.timeout(10):
            while len([each for each in await world.types(session) if each == "agent.message"]) < 2 + life:
                world.clock.advance(1)
                await lives.settle()
    async with asyncio.timeout(10):
        while "session.thread_status_terminated" not in await world.types(session):
            world.clock.advance(1)
            await lives.settle()
    asked = sum((request.system or "").startswith("You help.") for request in world.brain.requests)
    assert asked <= 1 + LIMIT
    assert ended(await world.idle(session)) == {"type": "end_turn"}


@pytest.mark.parametrize("alice_gets_on", [False, True])
async def test_a_thread_that_dies_of_a_fault_takes_no_other_with_it(lives: Lives, alice_gets_on: bool) -> None:
    """Bug class this catches: whoever works beside a faulty thread is given up with it, or keeps it from being so."""
    world, asked, gate = lives.world, Counter[str](), asyncio.Event()

    class Faulty(asyncio.Event):
        async def wait(self) -> Any:
            while alice_gets_on and asked["alice"] % 2:
                await asyncio.sleep(0)
            raise RuntimeError("a fault of ours")

    def answer(request: BrainRequest) -> Scripted:
        name = (request.system or "").split("\n")[0].removeprefix("You are ")
        asked[name] += 1
        if name == "bob":
            return [Hold(Faulty())]
        if name == "alice":
            at_work = alice_gets_on and asked[name] % 2 and not gate.is_set()
            return [tool_use("bash", {"command": "ls"})] if at_work else [text("three", Hold(gate))]
        if len(request.messages) > 1:
            return [text("noted")]
        return [tool_use("create_agent", {"agent": name, "message": "count"}) for name in ("alice", "bob")]

    world.brain._by = answer
    record = world.new_record()
    helpers = [{**agent_snapshot(), "id": name, "name": name, "system": f"You are {name}"} for name in ("alice", "bob")]
    agent = {**record.agent, "multiagent": {"type": "coordinator", "agents": helpers}}
    session = SessionId((await world.harness.create(replace(record, agent=agent), [message("go")])).id)
    async with asyncio.timeout(10):
        while "session.thread_status_terminated" not in await world.types(session):
            world.clock.advance(1)
            await lives.settle()
    assert asked["bob"] == 1 + LIMIT
    gate.set()
    log = await world.idle(session)
    ends = [event["agent_name"] for event in log if event["type"] == "session.thread_status_terminated"]
    assert ends == ["bob"] and ended(log) == {"type": "end_turn"}
