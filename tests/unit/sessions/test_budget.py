"""A session stops when its list cost has reached its budget, and goes on when it may (spec B.3 "Budget pause").

Bug class this catches: a cap that is checked too late or forgotten by the next owner, input that is lost at the pause,
a session that nobody wakes when its budget is raised.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainLost
from agents.brains.registry import registry_of
from agents.brains.scripted import Fail, Hold, Item, Reply, fail, reply, text, tool_use
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.errors import InvalidRequest, RateLimited
from agents.ids import SessionId, new_event_id
from agents.sessions.budget import Budgets
from agents.sessions.draft import Draft
from agents.sessions.events import Event, EventType, SessionStatus, Usage
from agents.sessions.model_requests import Spent, pause
from agents.sessions.state import SessionState
from agents.sessions.transitions import apply_interrupt

from .conftest import ASK, CUSTOM, World, agent_snapshot, make_world, message, toolset

CENT = TokenUsage(output_tokens=400)
"""What costs one cent of the model of these tests, at $25 for a million tokens."""
START = ["session.status_running", "session.thread_status_running"]
PAUSE = ["session.thread_status_idle", "session.usage", "session.status_idle"]
REACHED, END_TURN = {"type": "budget_reached"}, {"type": "end_turn"}
INTERRUPT = {"type": "user.interrupt"}


def cents(amount: int) -> dict[str, Any]:
    return {"type": "limit", "max_list_cost": {"amount": str(amount), "currency": "USD"}}


def for_a_cent(*items: Item) -> Reply:
    return reply(*items, usage=CENT)


async def capped(world: World, amount: int, *tools: dict[str, Any], principal: str = "") -> SessionId:
    record = replace(world.new_record(*tools, principal=principal), budget=cents(amount))
    await world.harness.create(record, [])
    return SessionId(record.id)


async def paused(world: World, *waiting: dict[str, Any], amount: int = 1) -> SessionId:
    """A session that a tool's round has brought to its cap; its last words are for the model to come."""
    world.brain.add(for_a_cent(tool_use("bash", {"command": "ls"})))
    session = await capped(world, amount)
    await world.send(session, message("go"), *waiting)
    await world.idle(session)
    return session


async def raised(world: World, session: SessionId, amount: int | None) -> None:
    await world.harness.update(session, {"budget": None if amount is None else cents(amount)})


async def refused(world: World, session: SessionId, *events: dict[str, Any]) -> str | None:
    before = await world.log(session)
    with pytest.raises(InvalidRequest) as caught:
        await world.send(session, *events)
    assert await world.log(session) == before
    return caught.value.error_code


async def not_changed(world: World, session: SessionId, amount: int) -> str | None:
    before = await world.record(session)
    with pytest.raises(InvalidRequest) as caught:
        await raised(world, session, amount)
    assert await world.record(session) == before
    return caught.value.error_code


async def test_the_pause_comes_between_model_requests_in_the_documented_order(world: World) -> None:
    session = await paused(world)
    log = await world.log(session)
    assert [event["type"] for event in log][-4:] == ["agent.tool_result", *PAUSE]
    assert log[-1]["stop_reason"] == log[-3]["stop_reason"] == REACHED
    assert log[-2]["budget"] == cents(1)
    assert log[-2]["usage"]["list_cost"] == {"amount": "1", "currency": "USD"}
    record = await world.record(session)
    assert (record.status, record.stop_reason, record.running_since) == (SessionStatus.IDLE, REACHED, None)
    assert len(world.brain.requests) == 1


async def test_a_session_below_its_budget_goes_on_and_the_last_request_may_overshoot(world: World) -> None:
    almost = TokenUsage(output_tokens=399)
    world.brain.add(reply(tool_use("bash"), usage=almost), for_a_cent(text("done")))
    session = await capped(world, 1)
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert log[-1]["stop_reason"] == END_TURN, "nothing more was to be asked"
    assert (await world.record(session)).usage.token_cost_micro_usd == 9_975 + 10_000
    assert await refused(world, session, message("more")) == "budget_reached"


@pytest.mark.parametrize("amount", [2, None])
async def test_a_raise_or_a_removal_goes_on_in_the_same_commit(world: World, amount: int | None) -> None:
    session = await paused(world)
    before = len(await world.log(session))
    gate = asyncio.Event()
    world.brain.add(reply(Hold(gate), text("done")))
    await raised(world, session, amount)
    assert (await world.record(session)).status is SessionStatus.RUNNING
    updated, *rest = (await world.log(session))[before:]
    assert updated["budget"] == (None if amount is None else cents(amount)) and updated["type"] == "session.updated"
    assert [event["type"] for event in rest] == [*START, "span.model_request_start"]
    gate.set()
    log = await world.idle(session, 2)
    assert log[-1]["stop_reason"] == END_TURN and log[-2]["budget"] == updated["budget"]
    asked = world.brain.requests[1].messages[-1]["content"]
    assert [block["type"] for block in asked] == ["tool_result"]


async def test_input_that_waits_at_the_pause_goes_on_waiting_and_is_taken_up_then(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add(for_a_cent(Hold(gate), text("one")), text("two"))
    session = await capped(world, 1)
    await world.send(session, message("first"))
    await world.brain.asked(1)
    await world.send(session, message("second"))
    gate.set()
    log = await world.idle(session)
    assert log[-1]["stop_reason"] == REACHED and (await world.record(session)).queued == 1
    assert sum(event["type"] == "user.message" for event in log) == 1
    await raised(world, session, 2)
    log = await world.idle(session, 2)
    assert log[-1]["stop_reason"] == END_TURN and (await world.record(session)).queued == 0
    assert [block["text"] for block in world.brain.requests[1].messages[-1]["content"]] == ["second"]


async def test_at_the_cap_only_answers_and_interrupts_are_taken(world: World) -> None:
    session = await paused(world)
    assert await refused(world, session, message("hello")) == "budget_reached"
    assert await refused(world, session, INTERRUPT, message("hello")) == "budget_reached"
    before = await world.record(session), await world.log(session)
    [echo] = await world.send(session, INTERRUPT)
    assert echo["type"] == "user.interrupt" and echo["processed_at"]
    assert (await world.record(session), await world.log(session)) == before, "accepted, ignored and not recorded"


async def test_an_ignored_interrupt_does_not_wake_what_waits(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add(for_a_cent(Hold(gate), text("one")))
    session = await capped(world, 1)
    await world.send(session, message("first"))
    await world.brain.asked(1)
    await world.send(session, message("second"))
    gate.set()
    before = await world.idle(session)
    await world.send(session, INTERRUPT)
    assert await world.log(session) == before


async def test_a_pending_ask_goes_before_the_pause_and_its_tool_still_runs(world: World) -> None:
    world.brain.add(for_a_cent(tool_use("bash", {"command": "ls"})))
    session = await capped(world, 1, toolset(bash=ASK))
    await world.send(session, message("go"))
    [asked] = (await world.idle(session))[-1]["stop_reason"]["event_ids"]
    assert await refused(world, session, message("hello")) == "budget_reached"
    await world.send(session, {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"})
    log = await world.idle(session, 2)
    assert log[-1]["stop_reason"] == REACHED
    assert [event["type"] for event in log][-4:] == ["agent.tool_result", *PAUSE]
    assert len(world.hands.calls) == 1


async def test_a_custom_result_is_taken_at_the_cap_and_then_the_session_pauses(world: World) -> None:
    world.brain.add(for_a_cent(tool_use("weather", {"city": "Oslo"})))
    session = await capped(world, 1, CUSTOM)
    await world.send(session, message("go"))
    [call] = (await world.idle(session))[-1]["stop_reason"]["event_ids"]
    await world.send(session, {"type": "user.custom_tool_result", "custom_tool_use_id": call})
    log = await world.idle(session, 2)
    assert [event["type"] for event in log][-6:] == ["user.custom_tool_result", *START, *PAUSE]
    assert log[-1]["stop_reason"] == REACHED


async def test_an_interrupt_clears_a_wait_at_the_cap(world: World) -> None:
    world.brain.add(for_a_cent(tool_use("weather", {"city": "Oslo"})))
    session = await capped(world, 1, CUSTOM)
    await world.send(session, message("go"))
    await world.idle(session)
    await world.send(session, INTERRUPT)
    assert (await world.idle(session, 2))[-1]["stop_reason"] == END_TURN


async def test_an_interrupt_ends_a_turn_that_is_over_its_budget_and_what_comes_with_it_waits(world: World) -> None:
    world.brain.add(for_a_cent(tool_use("bash", {"command": "sleep"})), text("done"))
    world.hands.gates["bash"] = asyncio.Event()
    session = await capped(world, 1)
    await world.send(session, message("go"))
    await world.hands.started(1)
    await world.send(session, INTERRUPT, message("next"))
    log = await world.idle(session, 2)
    assert [event["type"] for event in log][-8:] == [*PAUSE, *START, *PAUSE]
    assert (log[-6]["stop_reason"], log[-1]["stop_reason"]) == (END_TURN, REACHED)
    assert (await world.record(session)).queued == 1
    await raised(world, session, 2)
    assert (await world.idle(session, 3))[-1]["stop_reason"] == END_TURN
    assert world.brain.requests[1].messages[-1]["content"][-1]["text"] == "next"


async def test_time_counts_the_open_interval_included(world: World) -> None:
    world.brain.add(tool_use("bash", {"command": "sleep"}))
    gate = world.hands.gates["bash"] = asyncio.Event()
    session = await capped(world, 8)
    await world.send(session, message("go"))
    await world.hands.started(1)
    world.clock.advance(3600)  # at $0.08 an hour
    gate.set()
    log = await world.idle(session)
    assert log[-1]["stop_reason"] == REACHED and log[-2]["usage"]["active_seconds"] == 3600
    world.clock.advance(3600 * 24)
    assert await not_changed(world, session, 7) == "budget_not_raised"
    world.brain.add(text("done"))
    await raised(world, session, 9)  # no time passes for who pauses
    assert (await world.idle(session, 2))[-1]["stop_reason"] == END_TURN


async def test_a_failed_request_is_not_tried_again_beyond_the_cap(world: World) -> None:
    world.brain.add(reply(text("half", fail()), usage=TokenUsage(input_tokens=2000)), text("done"))
    session = await capped(world, 1)
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert [event["type"] for event in log][-5:] == ["span.model_request_end", "session.error", *PAUSE]
    assert log[-1]["stop_reason"] == REACHED and len(world.brain.requests) == 1
    await raised(world, session, 2)
    assert (await world.idle(session, 2))[-1]["stop_reason"] == END_TURN


async def test_the_time_of_a_back_off_counts_before_the_next_try() -> None:
    world = make_world(brain={"backoff_base_seconds": 7200, "backoff_ceiling_seconds": 7200})
    await world.harness.start()
    world.brain.add(fail(), text("done"))
    session = await capped(world, 8)
    await world.send(session, message("go"))
    await world.until(session, "session.status_rescheduled")
    await world.sleepers(2)
    world.clock.advance(7200)
    log = await world.idle(session)
    assert [event["type"] for event in log][-4:] == ["session.thread_status_rescheduled", *PAUSE]
    assert log[-1]["stop_reason"] == REACHED and len(world.brain.requests) == 1
    await world.harness.stop()


async def test_a_lost_answer_counts_before_the_request_is_made_again(world: World) -> None:
    half = reply(text("half", Fail(BrainLost("gone"))), usage=TokenUsage(input_tokens=1000))
    world.brain.add(half, half, text("done"))
    session = await capped(world, 1)
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert log[-1]["stop_reason"] == REACHED and len(world.brain.requests) == 2
    assert (await world.record(session)).usage.input_tokens == 2000


async def test_the_next_owner_keeps_to_the_cap_and_wakes_what_it_raises(world: World) -> None:
    session = await paused(world)
    await world.harness.stop()
    world.harness = world.another_harness()
    await world.harness.start()
    assert await refused(world, session, message("hello")) == "budget_reached"
    world.brain.add(text("done"))
    await raised(world, session, 2)
    assert (await world.idle(session, 2))[-1]["stop_reason"] == END_TURN
    await world.harness.stop()


async def test_a_request_that_its_owner_did_not_live_to_see_is_not_made_again_beyond_the_cap(world: World) -> None:
    world.brain.add(reply(Hold(asyncio.Event()), text("never")), text("done"))
    session = await capped(world, 8)
    await world.send(session, message("go"))
    await world.brain.asked(1)
    await world.harness.stop()
    world.clock.advance(3600)
    world.harness = world.another_harness()
    await world.harness.start()
    log = await world.idle(session)
    assert [event["type"] for event in log][-4:] == ["span.model_request_end", *PAUSE]
    assert log[-4]["is_error"] and log[-1]["stop_reason"] == REACHED and len(world.brain.requests) == 1
    await raised(world, session, 9)
    assert (await world.idle(session, 2))[-1]["stop_reason"] == END_TURN
    await world.harness.stop()


async def test_a_budget_changes_in_any_state_but_never_to_what_is_spent(world: World) -> None:
    gate = asyncio.Event()
    world.brain.add(for_a_cent(text("one")), for_a_cent(Hold(gate), tool_use("bash")))
    session = await capped(world, 100)
    await world.send(session, message("go"))
    before = await world.idle(session)
    for amount in (100, 3, 2):
        await raised(world, session, amount)
    assert await not_changed(world, session, 1) == "budget_not_raised"
    assert (await world.record(session)).status is SessionStatus.IDLE, "nothing was paused, nothing goes on"
    events = (await world.log(session))[len(before) :]
    assert [event["budget"] for event in events] == [cents(3), cents(2)], "the same budget is no change"
    await world.send(session, message("again"))
    await world.brain.asked(2)
    await raised(world, session, 4)
    await raised(world, session, 2)
    gate.set()
    assert (await world.idle(session, 2))[-1]["stop_reason"] == REACHED


async def test_the_same_budget_again_is_no_change_and_wakes_nobody_at_the_cap(world: World) -> None:
    """So that a raise whose answer was lost can be sent once more, however much was spent since."""
    session = await paused(world)
    before = await world.record(session), await world.log(session)
    await raised(world, session, 1)
    assert (await world.record(session), await world.log(session)) == before


async def test_a_budget_can_not_be_added_and_not_come_back(world: World) -> None:
    free, session = await world.create(), await capped(world, 5)
    await raised(world, free, None)
    await raised(world, session, None)
    for each in (free, session):
        assert await not_changed(world, each, 500) == "budget_create_only"
    assert await world.types(free) == [] and await world.types(session) == ["session.updated"]


async def test_a_raise_finds_room_or_changes_nothing() -> None:
    world = make_world(
        harness={"max_active_sessions": 2}, gateway={"key_share": 0.5}, api_keys={"greedy": "k1", "other": "k2"}
    )
    await world.harness.start()
    world.brain.add(for_a_cent(tool_use("bash")), reply(Hold(asyncio.Event()), text("x")))
    session = await capped(world, 1, principal="greedy")
    await world.send(session, message("go"))
    await world.idle(session)
    await world.quiet()
    await world.create(initial=[message("go")], principal="greedy")
    before = await world.record(session)
    with pytest.raises(RateLimited):
        await raised(world, session, 2)
    assert await world.record(session) == before
    await world.harness.stop()


def test_a_session_with_an_interrupt_to_come_ends_by_it_and_does_not_pause_before() -> None:
    """An owner died between the two; a pause would leave the interrupt to the turn after it."""
    world = make_world()
    record = replace(world.new_record(), status=SessionStatus.RUNNING, budget=cents(1), running_since=world.clock.now())
    state = SessionState(record)
    state.enqueue(Event(new_event_id(), EventType.USER_INTERRUPT, {"session_thread_id": None}, None))
    draft, rules = Draft(state, world.clock.now() + timedelta(hours=1)), world.harness._rules
    assert not pause(draft, rules) and draft.empty
    apply_interrupt(draft, rules, Spent())
    assert (state.record.stop_reason, state.queue) == (END_TURN, [])


# -- which models ------------------------------------------------------------------------------------


def budgets(brains: dict[str, Any] | None = None) -> Budgets:
    return Budgets(PriceBook.load(), registry_of(Settings.model_validate({"brains": brains or {}})))


def brain(model: str | None = "m", **more: Any) -> dict[str, Any]:
    return {"engine": "claude", "model": model, **more}


TOKENS: dict[str, Any] = {"price": {"input_mtok": 1.0, "output_mtok": 2.0}}
HOURS: dict[str, Any] = {"price": {"gpu_hour": 2.5}}


@pytest.mark.parametrize(
    ("brains", "model", "unpriced"),
    [
        (None, "claude-opus-5-5", None),
        (None, "my-own", "'my-own' has no price"),
        ({"a": brain("claude-opus-5-5")}, "a", None),
        ({"a": brain(None)}, "claude-opus-5-5", None),
        ({"a": brain()}, "a", "'m' of brain a@1 has no price"),
        ({"a": brain(**TOKENS)}, "a", None),
        ({"a": brain(**HOURS)}, "a", None),
        (
            {"a": brain(**TOKENS, fallbacks=["b"]), "b": brain(**TOKENS, fallbacks=["c"]), "c": brain("x")},
            "a",
            "'x' of",
        ),
        ({"a": brain(**TOKENS, fallbacks=["b"]), "b": brain("claude-haiku-5-5"), "c": brain("x")}, "a", None),
        ({"a": brain(**TOKENS, roles=["reasoning"]), "b": brain(**HOURS)}, "auto:reasoning", None),
        ({"a": brain(**TOKENS, roles=["reasoning"]), "b": brain("x")}, "auto:reasoning", None),
        ({"a": brain(**TOKENS, roles=["reasoning"]), "b": brain("x")}, "auto", "'x' of brain b@1"),
        ({"a": brain(**TOKENS, roles=["reasoning"]), "b": brain("x")}, "auto:generation", "'x' of brain b@1"),
        ({"a": brain(**TOKENS), "b": brain("x", roles=["summarization"])}, "a", "'x' of brain b@1"),
        ({"a": brain(**TOKENS), "b": brain(**HOURS, roles=["summarization"]), "c": brain("x")}, "a", None),
        ({"a": brain(**TOKENS), "b": brain(None)}, "auto", None),
        ({"a": brain(**TOKENS)}, "nobody", None),
        ({"a": brain(**TOKENS, versions={"2": {"model": "x"}})}, "a", None),
        ({"a": brain("claude-haiku-5-5", versions={"2": {"model": "x"}})}, "a", "'x' of brain a@2"),
        ({"a": brain("claude-haiku-5-5", versions={"2": {"model": "x"}})}, "a@1", None),
        ({"a": brain("claude-haiku-5-5", versions={"2": {"model": "x"}})}, "a@2", "'x' of brain a@2"),
    ],
)
def test_a_model_is_budgetable_when_every_brain_that_may_answer_has_a_price(
    brains: dict[str, Any] | None, model: str, unpriced: str | None
) -> None:
    if unpriced is None:
        budgets(brains).check_models([model])
        return
    with pytest.raises(InvalidRequest) as caught:
        budgets(brains).check_models([model])
    assert caught.value.error_code == "model_not_budgetable" and unpriced in caught.value.message


def test_a_budget_is_used_up_when_a_brain_has_lost_its_price_and_can_then_only_be_removed() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    agent = agent_snapshot()
    agent["model"]["id"] = "a"
    record = replace(make_world().new_record(), agent=agent, budget=cents(100))
    assert not budgets({"a": brain(**TOKENS)}).used_up(record, now)
    lost = budgets({"a": brain()})
    assert lost.used_up(record, now) and not lost.used_up(replace(record, budget=None), now)
    with pytest.raises(InvalidRequest) as caught:
        lost.check_change(record, now, cents(200))
    assert caught.value.error_code == "model_not_budgetable"


def test_what_counts_is_exact_to_the_millionth_of_a_dollar() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    judge, large = budgets(), 999_999_999_999
    record = replace(make_world().new_record(), budget=cents(large))
    below = replace(record, usage=Usage(token_cost_micro_usd=large * 10_000 - 1))
    assert not judge.used_up(below, now) and judge.used_up(below, now, unrecorded=1)
    # Nine seconds of running cost 200 millionths.
    running = replace(below, usage=Usage(token_cost_micro_usd=large * 10_000 - 200), running_since=now)
    assert not judge.used_up(running, now + timedelta(seconds=8.99)) and judge.used_up(
        running, now + timedelta(seconds=9)
    )
