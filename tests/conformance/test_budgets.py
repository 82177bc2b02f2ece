"""Sessions with a budget (spec A.4, B.3 "Budget pause")."""

from __future__ import annotations

from typing import Any

import anthropic
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
    toolset,
)

CENT = {"input_tokens": 0, "output_tokens": 1000}
"""What costs one cent of the model that scenes have, at $10 for a million tokens."""
REACHED, END_TURN = {"type": "budget_reached"}, {"type": "end_turn"}
INTERRUPT: Json = {"type": "user.interrupt"}


def cents(amount: Any, currency: str = "USD") -> Json:
    return {"type": "limit", "max_list_cost": {"amount": str(amount), "currency": currency}}


async def update(scene: Scene, session: str, budget: Json | None, status: int = 200) -> Json:
    answer = await scene.http.post(f"/v1/sessions/{session}", json={"budget": budget})
    assert answer.status_code == status, answer.text
    return answer.json()


async def reason(scene: Scene, session: str, budget: Json) -> str:
    return (await update(scene, session, budget, 400))["error"]["details"]["error_code"]


async def paused(scene: Scene) -> str:
    """A session that has reached its budget of a cent, and must tell its model what a tool said."""
    await scene.answers(calls(bash("echo out"), usage=CENT))
    session = await scene.session(toolset(), budget=cents(1))
    log = await scene.turn(session)
    assert log[-1]["stop_reason"] == REACHED
    return session


@requirement("sessions:budget")
async def test_a_budget_is_shown_replaced_and_removed_and_events_say_so(scene: Scene) -> None:
    sessions = scene.client.beta.sessions
    made = await sessions.create(
        agent=await scene.agent(),
        environment_id=scene.environment_id,
        budget={"type": "limit", "max_list_cost": {"amount": "2500", "currency": "USD"}},
    )
    assert made.budget is not None and made.budget.max_list_cost.amount == "2500"
    assert (await scene.retrieve(made.id))["budget"] == cents(2500)
    assert (await update(scene, made.id, cents(40)))["budget"] == cents(40)
    await update(scene, made.id, cents(40))
    assert (await sessions.update(made.id, title="kept")).budget == made.budget.model_copy(
        update={"max_list_cost": made.budget.max_list_cost.model_copy(update={"amount": "40"})}
    )
    assert (await sessions.update(made.id, budget=None)).budget is None
    events = of_type(await scene.log(made.id), "session.updated")
    bodies = [{k: v for k, v in e.items() if k not in ("id", "type", "processed_at")} for e in events]
    assert bodies == [{"budget": cents(40)}, {"title": "kept"}, {"budget": None}]


@requirement("sessions:budget:amount")
@pytest.mark.parametrize(
    ("budget", "named"),
    [
        *((cents(amount), "budget.max_list_cost.amount") for amount in ("0", "-5", "007", "1.50", "5e2", "", "ten")),
        (cents(100, "EUR"), "budget.max_list_cost.currency"),
        ({"type": "limit", "max_list_cost": {"amount": 100, "currency": "USD"}}, "budget.max_list_cost.amount"),
        ({"type": "tokens", "max_list_cost": {"amount": "100", "currency": "USD"}}, "budget.type"),
        ({"type": "limit"}, "budget.max_list_cost"),
    ],
)
async def test_an_amount_that_is_none_is_refused_by_name(scene: Scene, budget: Json, named: str) -> None:
    session = await scene.session(budget=cents(100))
    body = {"agent": (await scene.retrieve(session))["agent"]["id"], "environment_id": scene.environment_id}
    for answer in (
        await scene.http.post("/v1/sessions", json={**body, "budget": budget}),
        await scene.http.post(f"/v1/sessions/{session}", json={"budget": budget}),
    ):
        assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(named + ":")
    assert (await scene.retrieve(session))["budget"] == cents(100)


@requirement("sessions:budget:refused")
async def test_each_refusal_has_its_reason(scene: Scene) -> None:
    free = await scene.session()
    assert await reason(scene, free, cents(100)) == "budget_create_only"
    assert (await update(scene, free, None))["budget"] is None
    with pytest.raises(anthropic.BadRequestError) as caught:
        await scene.session(agent=await scene.agent(model="my-own"), budget=cents(100))
    assert caught.value.body["error"]["details"]["error_code"] == "model_not_budgetable"  # type: ignore[index,call-overload]
    await scene.answers(says("spent", usage={"input_tokens": 0, "output_tokens": 2000}))
    session = await scene.session(budget=cents(100))
    await scene.turn(session)
    for amount in (1, 2):
        assert await reason(scene, session, cents(amount)) == "budget_not_raised"
    assert (await update(scene, session, cents(3)))["budget"] == cents(3)
    await update(scene, session, None)
    assert await reason(scene, session, cents(1000)) == "budget_create_only"


@requirement("events:budget:pause")
async def test_the_pause_comes_between_model_requests_in_the_documented_order(scene: Scene) -> None:
    await scene.answers(calls(bash("echo out"), usage=CENT))
    session = await scene.session(toolset(), budget=cents(1))
    async with scene.stream(session) as stream:
        await scene.send(session, message())
        await stream.until("session.status_idle")
    log = await scene.log(session)
    assert [event["type"] for event in log] == [
        *START,
        "user.message",
        "span.model_request_start",
        "agent.tool_use",
        "span.model_request_end",
        "agent.tool_result",
        *END,
    ]
    assert stream.events[1:] == log
    thread, usage, idle = log[-3:]
    assert thread["stop_reason"] == idle["stop_reason"] == REACHED
    assert thread["stop_details"] is None and idle["stop_details"] is None
    assert usage["budget"] == cents(1) and usage["usage"]["list_cost"] == {"amount": "1", "currency": "USD"}
    resource = await scene.retrieve(session)
    assert (resource["status"], resource["budget"], resource["usage"]) == ("idle", cents(1), usage["usage"])
    assert len(await scene.shown()) == 1


@requirement("events:budget:pause")
async def test_a_turn_that_ends_at_the_cap_ends_as_any_other(scene: Scene) -> None:
    await scene.answers(says("done", usage=CENT))
    session = await scene.session(budget=cents(1))
    log = await scene.turn(session)
    assert [event["type"] for event in log] == [*START, "user.message", *REQUEST, *END]
    assert log[-1]["stop_reason"] == END_TURN
    assert (await scene.refused(session, message()))["details"]["error_code"] == "budget_reached"
    await scene.answers(says("more"))
    await update(scene, session, cents(2))
    assert await scene.log(session) != log, "the budget was changed"
    assert (await scene.turn(session))[-1]["stop_reason"] == END_TURN


@requirement("events:budget:resume")
@pytest.mark.parametrize("budget", [cents(2), None], ids=["raised", "removed"])
async def test_a_paused_session_goes_on_at_once(scene: Scene, budget: Json | None) -> None:
    session = await paused(scene)
    before = await scene.log(session)
    await scene.answers(says("done"))
    assert (await update(scene, session, budget))["status"] == "running"
    log = (await scene.idle(session, 2))[len(before) :]
    assert [event["type"] for event in log] == ["session.updated", *START, *REQUEST, *END]
    assert (log[0]["budget"], log[-2]["budget"], log[-1]["stop_reason"]) == (budget, budget, END_TURN)
    shown = (await scene.shown(2))[1]["messages"]
    assert [block["type"] for block in shown[-1]["content"]] == ["tool_result"]


@requirement("events:budget:resume")
async def test_messages_that_wait_at_the_pause_are_taken_up_after_it(scene: Scene) -> None:
    await scene.answers(says([scene.gate("hold"), "one"], usage=CENT))
    session = await scene.session(budget=cents(1))
    await scene.send(session, message("first"))
    await scene.shown(1)
    [waiting] = await scene.send(session, message("second"))
    await scene.release("hold")
    log = await scene.idle(session)
    assert [event["type"] for event in log] == [*START, "user.message", *REQUEST, *END, "user.message"]
    assert log[-2]["stop_reason"] == REACHED and log[-1] == waiting and waiting["processed_at"] is None
    await scene.answers(says("two"))
    await update(scene, session, cents(2))
    log = (await scene.idle(session, 2))[len(log) - 1 :]
    assert [event["type"] for event in log] == ["session.updated", *START, "user.message", *REQUEST, *END]
    assert log[3]["id"] == waiting["id"] and log[3]["processed_at"]


@requirement("events:budget:at-the-cap")
async def test_at_the_cap_messages_are_refused_and_interrupts_ignored(scene: Scene) -> None:
    session = await paused(scene)
    log, resource = await scene.log(session), await scene.retrieve(session)
    for events in ([message()], [INTERRUPT, message()]):
        refused = await scene.refused(session, *events)
        assert (refused["type"], refused["details"]["error_code"]) == ("invalid_request_error", "budget_reached")
    [echo] = await scene.send(session, INTERRUPT)
    assert echo["id"] and echo["processed_at"]
    assert await scene.log(session) == log, "nothing of it was recorded"
    assert (await scene.retrieve(session))["updated_at"] == resource["updated_at"]


@requirement("events:budget:precedence", "events:budget:at-the-cap")
async def test_a_pending_ask_goes_before_the_pause_and_answers_are_taken(scene: Scene) -> None:
    await scene.answers(calls(bash("echo out"), ("weather", {"city": "Oslo"}), usage=CENT))
    session = await scene.session(toolset(ASK), CUSTOM, budget=cents(1))
    idle = (await scene.turn(session))[-1]
    assert idle["stop_reason"]["type"] == "requires_action"
    asked, custom = idle["stop_reason"]["event_ids"]
    assert (await scene.refused(session, message()))["details"]["error_code"] == "budget_reached"
    await scene.send(session, {"type": "user.custom_tool_result", "custom_tool_use_id": custom})
    await scene.send(session, {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"})
    log = await scene.idle(session, 3)
    assert [event["type"] for event in log][-4:] == ["agent.tool_result", *END]
    assert log[-1]["stop_reason"] == REACHED
    await scene.answers(says("done"))
    assert (await scene.client.beta.sessions.update(session, budget=None)).status == "running"
    assert (await scene.idle(session, 4))[-1]["stop_reason"] == END_TURN
