"""Questions to a brain beside the loop: their own context, the session's bill, bounded patience."""

from __future__ import annotations

import asyncio

import pytest

from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainFailure
from agents.brains.scripted import Hold, fail, reply, text, thinking
from agents.ids import SessionId
from agents.sessions.asides import Aside, Question
from agents.sessions.events import EventType
from agents.sessions.turn import ThreadTurn

from .conftest import World, make_world, message

QUESTION = Question("You judge.", [{"role": "user", "content": [{"type": "text", "text": "Is it good?"}]}])


async def owner_of(world: World) -> ThreadTurn:
    """A thread of an idle session, in its owner's hands, one turn behind it."""
    world.brain.add(reply(text("hello")))
    session = await world.create()
    await world.send(session, message("hi"))
    await world.idle(session)
    await world.quiet()
    runner = await world.harness._runners.get(session)
    return runner._turns[runner.state.primary.id]


async def test_a_question_has_a_context_of_its_own_and_leaves_none_behind(world: World) -> None:
    owner = await owner_of(world)
    before = list(owner.state.conversation.messages)
    world.brain.add(reply(thinking("hm"), text("It "), text("is.")))
    assert await Aside(owner, "sevt_1").ask(QUESTION) == "It is."
    asked = world.brain.requests[-1]
    assert (asked.system, asked.messages, asked.tools, asked.live) == ("You judge.", QUESTION.messages, [], False)
    assert asked.model == "claude-test" and asked.max_tokens == QUESTION.max_tokens
    assert owner.state.conversation.messages == before


async def test_what_it_consumed_is_in_the_usage_and_the_bill_of_the_session_once(world: World) -> None:
    owner = await owner_of(world)
    world.brain.add(fail(), reply(text("yes"), usage=TokenUsage(100, 20)))
    aside, used = Aside(owner, "sevt_1"), owner.state.record.usage
    asking = asyncio.create_task(aside.ask(QUESTION))
    await world.sleepers(2)
    world.clock.advance(60)
    assert await asking == "yes"
    assert aside.spent.usage == TokenUsage(100, 20)
    await owner.apply(lambda draft: (aside.count(draft), draft.emit_session(EventType.SESSION_UPDATED)))
    stored = (await world.record(SessionId(owner.state.record.id))).usage
    assert stored.input_tokens == used.input_tokens + 100 and stored.output_tokens == used.output_tokens + 20
    await aside.meter()
    await aside.meter()
    [total] = await world.meter.totals()
    assert (total.name, total.input_tokens, total.output_tokens) == ("claude-test", 110, 25)


async def test_it_is_asked_so_often_and_no_more_and_not_again_when_that_is_vain(world: World) -> None:
    owner = await owner_of(world)
    world.brain.add(fail("billing", transient=False))
    with pytest.raises(BrainFailure) as caught:
        await Aside(owner, "sevt_1").ask(QUESTION)
    assert caught.value.kind == "billing"
    asked = len(world.brain.requests)
    world.brain.add(fail(), fail(), reply(text("too late")))
    asking = asyncio.create_task(Aside(owner, "sevt_2").ask(Question("You judge.", QUESTION.messages, attempts=2)))
    await world.sleepers(2)
    world.clock.advance(60)
    with pytest.raises(BrainFailure):
        await asking
    assert len(world.brain.requests) == asked + 2


async def test_an_answer_that_does_not_come_in_time_is_a_failure(world: World) -> None:
    owner = await owner_of(world)
    world.brain.add(reply(text("now", Hold(asyncio.Event()))))
    aside = Aside(owner, "sevt_1")
    with pytest.raises(BrainFailure, match="no answer"):
        await aside.ask(Question("You judge.", QUESTION.messages, seconds=0.01))
    assert world.brain.closed_early == 1
    assert aside.spent.usage.input_tokens == 10, "what was begun is paid for"


async def test_a_refusal_is_no_answer(world: World) -> None:
    owner = await owner_of(world)
    world.brain.add(reply(text("no"), stop_reason="refusal"))
    with pytest.raises(BrainFailure, match="declined"):
        await Aside(owner, "sevt_1").ask(QUESTION)


async def test_without_budget_left_nobody_is_asked() -> None:
    world = make_world()
    await world.harness.start()
    owner = await owner_of(world)
    budget = {"type": "limit", "max_list_cost": {"amount": "1", "currency": "USD"}}
    owner.state.set(budget=budget, agent={**owner.state.agent, "model": {**owner.state.agent["model"], "id": "nobody"}})
    asked = len(world.brain.requests)
    with pytest.raises(BrainFailure) as caught:
        await Aside(owner, "sevt_1").ask(QUESTION)
    assert caught.value.kind == "billing" and len(world.brain.requests) == asked
    await world.harness.stop()
