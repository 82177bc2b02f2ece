"""Who answers a request, and who stands in.

Bug class this catches: a fallback that is not asked, or is asked after something of the answer was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.assembly import Answer
from agents.brains.budgets import Budgets, OverBudget
from agents.brains.policy import RulePolicy
from agents.brains.port import BrainFailure, BrainLost, BrainRequest, Refusal, Standing
from agents.brains.registry import Registry
from agents.brains.route import ROUTE
from agents.brains.routing import RoutedBrain
from agents.brains.scripted import Fail, Hold, ScriptedBrain, fail, text
from agents.clock import ManualClock
from agents.economics.meter import MemoryMeter, MeterKind, MeterRow
from agents.economics.price_book import PriceBook
from agents.ids import SessionId
from tests.unit.brains.answers import answer_of

REFUSED = Fail(BrainFailure("request_failed", "too long", transient=False, refusal=Refusal(400, "too long")))
LOST = Fail(BrainLost("the replica died"))


class Pools:
    """A scripted brain for every brain; one named in ``down`` has no replica."""

    def __init__(self, registry: Registry) -> None:
        self.brains = {brain.id: ScriptedBrain() for brain in registry.brains}
        self.down: set[str] = set()
        self.looks = 0

    def think(self, brain: str, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        return self.brains[brain].think(request)

    def standing(self, brain: str) -> Standing:
        self.looks += 1
        return Standing(0, 0, 0, 0) if brain in self.down else Standing(1, 4, 0, 0)


class Stage:
    def __init__(self, **brains: dict[str, Any]) -> None:
        definitions = {name: BrainDefinition(**{"engine": "replay", **given}) for name, given in brains.items()}
        self.registry = Registry(definitions)
        self.pools = Pools(self.registry)
        self.brain = RoutedBrain(self.registry, self.pools, RulePolicy(PriceBook.load()), patience=0, now=lambda: 0.0)

    def says(self, name: str, *answers: Any) -> None:
        self.pools.brains[self.registry.find(name).id].add(*answers)

    async def ask(self, model: str, **more: Any) -> Answer:
        return await answer_of(self.brain, BrainRequest("s", model, [{"role": "user", "content": "hi"}], **more))

    def asked(self) -> dict[str, int]:
        return {brain: len(scripted.requests) for brain, scripted in self.pools.brains.items() if scripted.requests}


def route_of(answer: Answer) -> dict[str, Any]:
    assert answer.route is not None
    return answer.route.wire()


def pair(**more: Any) -> Stage:
    return Stage(first={"fallbacks": ["second"], **more}, second={})


async def test_the_brain_that_is_named_answers() -> None:
    stage = Stage(first={}, second={"aliases": ["two-"]})
    stage.says("second", text("hello"))
    answer = await stage.ask("two-8b")
    assert [block.text for block in answer.blocks] == ["hello"]
    assert route_of(answer) == {"id": "second@1", "requested": "two-8b"}
    [request] = stage.pools.brains["second@1"].requests
    assert (request.brain, request.model) == ("second@1", "two-8b")


async def test_the_policy_chooses_and_says_why() -> None:
    stage = Stage(
        first={"roles": ["generation"]}, second={"roles": ["reasoning"]}, mute={"capabilities": {"tools": False}}
    )
    stage.says("second", text("hello"))
    answer = await stage.ask("auto", tools=[{"name": "bash"}])
    assert route_of(answer) == {
        "id": "second@1",
        "requested": "auto",
        "reason": "reasoning, as there are tools: the only one able, a place is free",
    }


@pytest.mark.parametrize(
    "failure",
    [
        fail("overloaded"),
        fail("rate_limited"),
        fail("request_failed"),
        fail("unknown"),
        fail("billing", transient=False),
        fail("request_failed", transient=False),
    ],
)
async def test_what_is_no_fault_of_the_request_is_asked_of_the_next(failure: Fail) -> None:
    stage = pair()
    stage.says("first", failure)
    stage.says("second", text("hello"))
    answer = await stage.ask("first")
    assert [block.text for block in answer.blocks] == ["hello"]
    reason = f"{failure.failure.kind}: scripted failure"
    assert route_of(answer) == {
        "id": "second@1",
        "requested": "first",
        "passed_over": [{"id": "first@1", "reason": reason}],
    }


async def test_the_next_is_asked_for_an_answer_that_has_begun_but_shown_nothing() -> None:
    stage = pair()
    stage.pools.brains["first@1"] = ScriptedBrain(by=lambda _: [text("never")])
    events = [{"type": "message_start", "message": {"usage": {"input_tokens": 9}}}]

    async def begins(brain: str, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        for event in events:
            yield event
        raise fail("overloaded").failure

    others = stage.pools.think
    stage.pools.think = lambda brain, request: (begins if brain == "first@1" else others)(brain, request)  # type: ignore[method-assign]
    stage.says("second", text("hello"))
    answer = await stage.ask("first")
    assert ([block.text for block in answer.blocks], answer.usage.input_tokens) == (["hello"], 10)


@pytest.mark.parametrize("failure", [fail("overloaded"), LOST])
async def test_once_something_was_shown_nobody_stands_in(failure: Fail) -> None:
    stage = pair()
    stage.says("first", [text("hel", failure)])
    with pytest.raises(BrainFailure) as caught:
        await stage.ask("first")
    assert caught.value is failure.failure
    assert stage.asked() == {"first@1": 1}


async def test_the_requests_own_fault_is_told_at_once() -> None:
    stage = pair()
    stage.says("first", REFUSED)
    with pytest.raises(BrainFailure, match="too long"):
        await stage.ask("first")
    assert stage.asked() == {"first@1": 1}


async def test_a_stand_in_that_refuses_the_request_does_not_end_it() -> None:
    stage = pair()
    stage.says("first", fail("overloaded", "busy"))
    stage.says("second", REFUSED)
    with pytest.raises(BrainFailure, match="busy") as caught:
        await stage.ask("first")
    assert caught.value.transient


async def test_a_lost_replica_is_told_while_there_are_others_and_passed_over_when_it_was_the_last() -> None:
    stage = pair()
    stage.says("first", LOST, LOST)
    with pytest.raises(BrainLost):
        await stage.ask("first")
    assert stage.asked() == {"first@1": 1}
    stage.says("second", text("hello"))
    down = stage.pools.down

    async def dies(brain: str, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        down.add(brain)
        raise LOST.failure
        yield {}

    others = stage.pools.think
    stage.pools.think = lambda brain, request: (dies if brain == "first@1" else others)(brain, request)  # type: ignore[method-assign]
    assert route_of(await stage.ask("first"))["passed_over"] == [
        {"id": "first@1", "reason": "request_failed: the replica died"}
    ]


async def test_a_brain_without_replica_is_passed_over_at_once_and_the_last_in_line_is_waited_for() -> None:
    stage = pair()
    stage.pools.down.add("first@1")
    stage.says("second", text("hello"), text("hello"))
    answer = await stage.ask("first")
    assert route_of(answer)["passed_over"] == [{"id": "first@1", "reason": "it has no replica"}]
    stage.pools.down.add("second@1")
    assert (await stage.ask("first")).blocks
    assert stage.asked() == {"second@1": 2}


async def test_nobody_is_passed_over_before_replicas_can_have_been_found() -> None:
    stage = pair()
    stage.brain = RoutedBrain(stage.registry, stage.pools, RulePolicy(PriceBook.load()), patience=60)
    stage.says("first", text("hello"))
    stage.pools.down |= {"first@1", "second@1"}
    asking = asyncio.create_task(stage.ask("first"))
    async with asyncio.timeout(5):
        while stage.pools.looks < 4:
            await asyncio.sleep(0)
    assert not stage.asked()
    stage.pools.down.clear()
    assert route_of(await asking) == {"id": "first@1", "requested": "first"}


async def test_a_brain_that_sleeps_is_woken_by_its_request() -> None:
    stage = pair(scaling={"min_replicas": 0})
    stage.pools.down.add("first@1")
    stage.says("first", text("good morning"))
    assert route_of(await stage.ask("first")) == {"id": "first@1", "requested": "first"}


async def test_a_brain_that_keeps_failing_is_passed_over_while_another_can_answer() -> None:
    stage = pair()
    for _ in range(5):
        stage.says("first", fail("request_failed"))
        stage.says("second", text("hello"))
        await stage.ask("first")
    stage.says("second", text("hello"))
    route = route_of(await stage.ask("first"))
    reason = "it keeps failing, and is tried again in 10 s"
    assert (route["id"], route["passed_over"]) == ("second@1", [{"id": "first@1", "reason": reason}])
    assert stage.asked() == {"first@1": 5, "second@1": 6}
    stage.pools.down.add("second@1")
    stage.says("first", text("well again"))
    assert route_of(await stage.ask("first")) == {"id": "first@1", "requested": "first"}


async def test_a_brain_that_keeps_failing_is_asked_when_it_stands_alone() -> None:
    stage = Stage(only={})
    stage.says("only", *[fail("request_failed")] * 9, text("hello"))
    for _ in range(9):
        with pytest.raises(BrainFailure):
            await stage.ask("only")
    assert (await stage.ask("only")).blocks


PRICE = {"output_mtok": 1000, "ceiling_usd_per_hour": 2}


async def budgeted(stage: Stage, *spent: tuple[str, int]) -> None:
    """Hold the brains of *stage* to their ceilings; an answer is expected to cost a dollar."""
    meter, clock, prices = MemoryMeter(), ManualClock(), PriceBook.load()
    for brain, minutes_ago in spent:
        at = clock.now() - timedelta(minutes=minutes_ago)
        key, kind = f"{brain} {minutes_ago}", MeterKind.MODEL_REQUEST
        await meter.record([MeterRow(key, SessionId("s"), kind, "m", at, micro_usd=2_000_000, brain=brain)])
    budgets = Budgets(meter, prices, clock)
    stage.brain = RoutedBrain(stage.registry, stage.pools, RulePolicy(prices), budgets=budgets, patience=0)


async def test_a_brain_over_its_budget_is_passed_over() -> None:
    stage = pair(price=PRICE)
    await budgeted(stage, ("first@1", 10))
    stage.says("second", text("hello"))
    route = route_of(await stage.ask("first"))
    reason = "first is over its budget: 2.00 of 2.00 USD per hour are spent, 0.00 more are under way"
    assert (route["id"], route["passed_over"]) == ("second@1", [{"id": "first@1", "reason": reason}])
    assert stage.asked() == {"second@1": 1}


async def test_when_all_are_over_their_budgets_the_asker_hears_when_the_first_of_them_is_not() -> None:
    stage = Stage(first={"fallbacks": ["second"], "price": PRICE}, second={"price": PRICE})
    await budgeted(stage, ("first@1", 50), ("second@1", 10))
    with pytest.raises(OverBudget, match="first is over its budget") as caught:
        await stage.ask("first")
    assert caught.value.retry_after == 11 * 60
    assert (caught.value.kind, caught.value.transient, stage.asked()) == ("overloaded", True, {})


async def test_a_stand_in_that_is_over_its_budget_does_not_hide_why_it_was_asked() -> None:
    stage = Stage(first={"fallbacks": ["second"]}, second={"price": PRICE})
    await budgeted(stage, ("second@1", 10))
    stage.says("first", fail("overloaded", "busy for a moment"))
    with pytest.raises(BrainFailure, match="busy for a moment"):
        await stage.ask("first")


async def test_what_is_under_way_is_reserved_until_it_ends() -> None:
    stage = Stage(only={"price": PRICE})
    await budgeted(stage)
    held = asyncio.Event()
    stage.says("only", [text("hel", Hold(held))], [text("lo", Hold(held))])
    requests = [stage.brain.think(BrainRequest("s", "only", [])) for _ in range(2)]
    for events in requests:
        assert [(await anext(events))["type"] for _ in range(2)] == [ROUTE, "message_start"]
    with pytest.raises(OverBudget, match=r"0.00 of 2.00 USD per hour are spent, 2.00 more are under way"):
        await stage.ask("only")
    for events in requests:
        await events.aclose()


async def test_fallbacks_have_fallbacks_and_nobody_is_asked_twice() -> None:
    stage = Stage(a={"fallbacks": ["b"]}, b={"fallbacks": ["a", "c"]}, c={"fallbacks": ["a"]})
    for name in "abc":
        stage.says(name, fail("overloaded", f"{name} is busy"))
    with pytest.raises(BrainFailure, match="c is busy"):
        await stage.ask("a")
    assert stage.asked() == {"a@1": 1, "b@1": 1, "c@1": 1}


async def test_a_fallback_that_is_unable_does_not_stand_in() -> None:
    stage = Stage(
        first={"fallbacks": ["mute", "able"], "capabilities": {"tools": False}},
        mute={"capabilities": {"tools": False}},
        able={},
    )
    stage.says("first", fail())
    stage.says("able", text("hello"))
    assert route_of(await stage.ask("first", tools=[{"name": "bash"}]))["id"] == "able@1"
    assert stage.asked() == {"first@1": 1, "able@1": 1}


async def test_when_all_fail_before_they_answer_auto_asks_the_fallbacks_of_those_it_chose() -> None:
    stage = Stage(a={"roles": ["reasoning"], "fallbacks": ["c"]}, b={"roles": ["reasoning"]}, c={})
    stage.says("a", fail("overloaded", "a is busy"))
    stage.says("b", fail("overloaded", "b is busy"))
    stage.says("c", text("hello"))
    route = route_of(await stage.ask("auto:reasoning"))
    assert [route["id"], *(each["id"] for each in route["passed_over"])] == ["c@1", "a@1", "b@1"]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("unknown", "model 'unknown' not found; there are first@1, second@1, and auto"),
        ("auto:painting", "there are auto, auto:reasoning, auto:generation, auto:summarization"),
    ],
)
async def test_a_model_that_is_not_there_fails_for_good(model: str, told: str) -> None:
    with pytest.raises(BrainFailure, match=told) as caught:
        await pair().ask(model)
    assert (caught.value.kind, caught.value.transient) == ("request_failed", False)


async def test_a_request_that_no_brain_can_answer_fails_and_says_why() -> None:
    stage = Stage(first={"capabilities": {"tools": False}})
    with pytest.raises(BrainFailure, match=r"none is able \(first@1: it cannot call tools\)") as caught:
        await stage.ask("auto", tools=[{"name": "bash"}])
    assert not caught.value.transient


@pytest.mark.parametrize(("most", "expected"), [(100, 100), (64_000, 32_000)])
async def test_an_answer_is_no_longer_than_the_brain_can_make_it(most: int, expected: int) -> None:
    stage = Stage(first={"capabilities": {"max_output_tokens": most}})
    stage.says("first", text("hello"))
    await stage.ask("first")
    assert stage.pools.brains["first@1"].requests[0].max_tokens == expected


async def test_a_clients_own_body_goes_as_it_is_to_the_brain_that_it_names_and_is_cut_for_another() -> None:
    stage = Stage(first={"fallbacks": ["second"]}, second={"capabilities": {"max_output_tokens": 100}})
    stage.says("first", fail())
    stage.says("second", text("hello"))
    await stage.ask("first", max_tokens=64_000, body={"max_tokens": 64_000, "top_k": 1})
    asked = [brain.requests[0] for brain in stage.pools.brains.values()]
    assert [request.body for request in asked] == [{"max_tokens": most, "top_k": 1} for most in (64_000, 100)]


@pytest.mark.parametrize("takes", [True, False])
async def test_system_messages_stay_where_they_are_for_a_brain_that_takes_them(takes: bool) -> None:
    stage = Stage(first={"capabilities": {"system_messages": takes}})
    stage.says("first", text("hello"))
    said = [{"role": role, "content": [{"type": "text", "text": role}]} for role in ("user", "system")]
    await answer_of(stage.brain, BrainRequest("s", "first", said, system="Base."))
    [asked] = stage.pools.brains["first@1"].requests
    assert asked.messages == (said if takes else said[:1])
    assert (asked.system == "Base.") is takes


async def test_closing_the_answer_cancels_the_generation() -> None:
    stage = pair()
    stage.says("first", [text("hel", Hold(asyncio.Event()))])
    events = stage.brain.think(BrainRequest("s", "first", []))
    assert (await anext(events))["type"] == ROUTE
    assert (await anext(events))["type"] == "message_start"
    await events.aclose()
    assert stage.pools.brains["first@1"].closed_early == 1
