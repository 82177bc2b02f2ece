"""What the log, the bill and the meter say of the brain that answered.

Bug class this catches: an answer that is billed at another brain's price, or that the log credits to another brain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains import stream
from agents.brains.local_pools import LocalPools
from agents.brains.policy import RulePolicy
from agents.brains.port import BrainFailure, BrainRequest, Refusal
from agents.brains.registry import Registry, registry_of
from agents.brains.route import ROUTE
from agents.brains.routing import RoutedBrain
from agents.brains.scripted import DEFAULT_USAGE, Fail, Hold, ScriptedBrain, fail, text, tool_use
from agents.config import BrainSettings
from agents.ids import SessionId
from agents.sessions.brain_stream import bounded_stream
from agents.sessions.events import EventType
from agents.sessions.harness import Harness
from agents.sessions.log import Commit

from .conftest import World, make_world, message

# An answer of the scripted brain reads 10 tokens and writes 5.
BRAINS: dict[str, dict[str, Any]] = {
    "dear": {"fallbacks": ["cheap"], "roles": ["reasoning"], "price": {"input_mtok": 3, "output_mtok": 2.5}},
    "cheap": {"roles": ["generation"], "price": {"gpu_hour": 2}},
    "listed": {"engine": "claude", "model": "claude-opus-4-8"},
}


class RoutedWorld:
    """A world whose harness thinks with several scripted brains."""

    def __init__(self, registry: Registry) -> None:
        self.world: World = make_world()
        self.scripts = {brain.id: ScriptedBrain() for brain in registry.brains}
        pools = LocalPools(registry, self.scripts, self.world.settings.brain)
        brain = RoutedBrain(registry, pools, RulePolicy(self.world.ports.prices))
        self.world.ports = replace(self.world.ports, brain=brain)
        self.world.harness = Harness(self.world.ports, owner="harness-0")

    async def session(self, model: str) -> SessionId:
        record = self.world.new_record()
        agent = {**record.agent, "model": {**record.agent["model"], "id": model}}
        await self.world.harness.create(replace(record, agent=agent), [])
        return SessionId(record.id)

    async def turn(self, session: SessionId) -> list[dict[str, Any]]:
        await self.world.send(session, message("go"))
        log = await self.world.idle(session)
        await self.world.quiet()
        return log

    async def bill(self, session: SessionId) -> list[tuple[str, str, int]]:
        return [(total.name, total.brain, total.micro_usd) for total in await self.world.meter.totals(session)]


@asynccontextmanager
async def started(registry: Registry) -> AsyncIterator[RoutedWorld]:
    made = RoutedWorld(registry)
    await made.world.harness.start()
    yield made
    await made.world.harness.stop()


@pytest.fixture
async def routed() -> AsyncIterator[RoutedWorld]:
    definitions = {name: BrainDefinition(**{"engine": "replay", **given}) for name, given in BRAINS.items()}
    async with started(Registry(definitions)) as made:
        yield made


def ends(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in log if event["type"] == "span.model_request_end"]


@pytest.mark.parametrize(
    ("model", "brain", "micro_usd"),
    [("dear", "dear@1", 10 * 3 + 13), ("cheap", "cheap@1", 0), ("listed", "listed@1", 10 * 5 + 5 * 25)],
)
async def test_an_answer_is_billed_at_its_brains_price(
    routed: RoutedWorld, model: str, brain: str, micro_usd: int
) -> None:
    routed.scripts[brain].add(text("fine"))
    session = await routed.session(model)
    [end] = ends(await routed.turn(session))
    assert end["brain"] == {"id": brain, "requested": model}
    assert (await routed.world.record(session)).usage.token_cost_micro_usd == micro_usd
    assert await routed.bill(session) == [(model, brain, micro_usd)]


async def test_what_auto_decided_is_in_the_log_and_each_request_is_decided_anew(routed: RoutedWorld) -> None:
    routed.scripts["dear@1"].add(tool_use("bash", {"command": "ls"}), text("fine"))
    first, second = ends(await routed.turn(await routed.session("auto")))
    reason = "reasoning, as there are tools: the only one able, a place is free"
    assert first["brain"] == second["brain"] == {"id": "dear@1", "requested": "auto", "reason": reason}


async def test_a_fallback_answers_and_the_log_says_who_was_passed_over(routed: RoutedWorld) -> None:
    routed.scripts["dear@1"].add(fail("overloaded", "too busy"))
    routed.scripts["cheap@1"].add(text("fine"))
    log = await routed.turn(await routed.session("dear"))
    [end] = ends(log)
    assert end["is_error"] is False
    passed_over = [{"id": "dear@1", "reason": "overloaded: too busy"}]
    assert end["brain"] == {"id": "cheap@1", "requested": "dear", "passed_over": passed_over}
    assert not [event for event in log if event["type"] == "session.error"]


async def test_what_the_brain_before_consumed_is_billed_at_its_own_price(routed: RoutedWorld) -> None:
    # Its message began, so its input is charged; nothing of it was shown, so another may answer.
    async def begins(request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        yield stream.message_start("msg", request.model, DEFAULT_USAGE)
        raise BrainFailure("overloaded", "too busy", transient=True)

    routed.scripts["dear@1"].think = begins  # type: ignore[method-assign]
    routed.scripts["cheap@1"].add(text("fine"))
    session = await routed.session("dear")
    [end] = ends(await routed.turn(session))
    assert (end["brain"]["id"], end["model_usage"]["input_tokens"], end["model_usage"]["output_tokens"]) == (
        "cheap@1",
        20,
        6,
    )
    # Ten tokens read and the one written that a message begins with; the other brain is paid by the hour.
    assert (await routed.world.record(session)).usage.token_cost_micro_usd == 10 * 3 + 3


async def test_a_failed_request_says_who_failed_it(routed: RoutedWorld) -> None:
    refused = BrainFailure("request_failed", "bad", transient=False, refusal=Refusal(400, "bad"))
    routed.scripts["dear@1"].add(Fail(refused))
    log = await routed.turn(await routed.session("dear"))
    [end] = ends(log)
    assert (end["is_error"], end["brain"]) == (True, {"id": "dear@1", "requested": "dear"})


async def test_an_interrupted_request_says_who_was_interrupted(routed: RoutedWorld) -> None:
    routed.scripts["cheap@1"].add(text("x", Hold(asyncio.Event())))
    session = await routed.session("cheap")
    await routed.world.send(session, message("go"))
    await routed.scripts["cheap@1"].asked(1)
    await routed.world.send(session, {"type": "user.interrupt"})
    [end] = ends(await routed.world.idle(session))
    assert (end["is_error"], end["brain"]["id"]) == (True, "cheap@1")


async def test_answers_that_are_broken_off_are_metered_too(routed: RoutedWorld) -> None:
    failed, held = asyncio.Event(), asyncio.Event()

    async def begins(request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        yield stream.message_start("msg", request.model, DEFAULT_USAGE)
        if not failed.is_set():
            failed.set()
            raise BrainFailure("request_failed", "the server fell over", transient=True)
        held.set()
        await asyncio.Event().wait()

    routed.scripts["listed@1"].think = begins  # type: ignore[method-assign]
    session = await routed.session("listed")
    await routed.world.send(session, message("go"))
    await failed.wait()
    await routed.world.sleepers(2)
    routed.world.clock.advance(1)
    await held.wait()
    await routed.world.send(session, {"type": "user.interrupt"})
    first, second = ends(await routed.world.idle(session))
    await routed.world.quiet()
    assert (first["is_error"], second["is_error"]) == (True, True)
    # Ten tokens read and one written, twice.
    assert await routed.bill(session) == [("listed", "listed@1", 2 * (10 * 5 + 25))]


async def test_a_model_that_has_vanished_ends_the_turn_with_an_error_that_names_those_there_are(
    routed: RoutedWorld,
) -> None:
    log = await routed.turn(await routed.session("gone"))
    [error] = [event["error"] for event in log if event["type"] == "session.error"]
    assert (error["type"], error["retry_status"]) == ("model_request_failed_error", {"type": "exhausted"})
    assert error["message"] == "model 'gone' not found; there are dear@1, cheap@1, listed@1, and auto"
    [end] = ends(log)
    assert end["is_error"] and "brain" not in end
    assert log[-1]["stop_reason"] == {"type": "retries_exhausted"}


async def test_without_declared_brains_nothing_is_said_of_them() -> None:
    async with started(registry_of(make_world().settings)) as made:
        made.scripts["default@1"].add(text("fine"))
        session = await made.session("claude-opus-4-8")
        [end] = ends(await made.turn(session))
        assert set(end) == {"id", "type", "model_request_start_id", "is_error", "model_usage", "processed_at"}
        assert await made.bill(session) == [("claude-opus-4-8", "", 10 * 5 + 5 * 25)]


async def test_an_interrupt_before_a_request_is_made_is_not_billed_for_the_one_before(routed: RoutedWorld) -> None:
    reached, gate, append = asyncio.Event(), asyncio.Event(), routed.world.store.log.append

    async def held(commit: Commit) -> None:
        if any(event.type is EventType.MODEL_REQUEST_END for event in commit.events):
            reached.set()
            await gate.wait()
        await append(commit)

    routed.world.store.log.append = held  # type: ignore[method-assign]
    # The tool is not there: the answer's commit also opens the next request. The interrupt comes before anybody thinks.
    routed.scripts["dear@1"].add(tool_use("no_such_tool"))
    session = await routed.session("dear")
    await routed.world.send(session, message("go"))
    await reached.wait()
    interrupt = asyncio.create_task(routed.world.send(session, {"type": "user.interrupt"}))
    await asyncio.sleep(0)
    gate.set()
    await interrupt
    first, second = ends(await routed.world.idle(session))
    assert (first["model_usage"]["input_tokens"], second["model_usage"]["input_tokens"]) == (10, 0)
    assert "brain" not in second


async def test_that_a_request_is_on_its_way_is_no_event_of_the_models() -> None:
    """The deadline of the model's first event holds after it, not the shorter one between two events."""

    async def waits() -> AsyncGenerator[dict[str, Any], None]:
        yield {"type": ROUTE}
        await asyncio.Event().wait()

    limits = BrainSettings(first_event_timeout_seconds=0.02, waiting_timeout_seconds=0.01, event_gap_timeout_seconds=9)
    events = bounded_stream(waits(), limits)
    assert (await anext(events))["type"] == ROUTE
    with pytest.raises(BrainFailure, match=r"no event from the model within 0.03 s"):
        await anext(events)
