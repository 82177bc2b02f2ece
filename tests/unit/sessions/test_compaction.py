"""A session outlives the context of its brain: summaries take the place of what is older, and the log keeps it all.

Bug class this catches: a session that dies of a full context, a tool's result without its call, a summary that is made
twice or paid by nobody, words of the user that are gone from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.brains.assembly import TokenUsage
from agents.brains.plan import PlanBook, parse_plans
from agents.brains.port import BrainFailure, BrainRequest, Refusal
from agents.brains.registry import registry_of
from agents.brains.replay import ReplayBrain
from agents.brains.scripted import Fail, Hold, Scripted, ScriptedBrain, fail, reply, text, tool_use
from agents.brains.summarizing import asks_for_summary, entries_of, summary_in
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.ids import EventId, SessionId
from agents.sessions.budget import Budgets
from agents.sessions.compaction import Compaction, too_long
from agents.sessions.events import Event, EventType
from agents.sessions.harness import Harness
from agents.sessions.log import SessionSnapshot
from agents.sessions.state import SessionState

from .conftest import World, make_world, message
from .crash_points import Reborn, plain
from .test_conversation import logs

FULL = TokenUsage(input_tokens=1500, output_tokens=100)
TINY: dict[str, Any] = {"engine": "replay", "aliases": ["claude-"], "capabilities": {"context_tokens": 2000}}
DIGESTER: dict[str, Any] = {"engine": "replay", "roles": ["summarization"]}
COMPACTED = "agent.thread_context_compacted"
PRICES = PriceBook.load()
RECORD = make_world().new_record()
SPANS = ["span.model_request_start", "span.model_request_end"]


def opening(request: BrainRequest) -> str | None:
    """The summary that a request begins with, if it does."""
    return summary_in(request.messages[0]["content"][0]["text"])


def answers(request: BrainRequest) -> Scripted:
    """Each answer but those after a summary fills the context."""
    if asks_for_summary(request):
        return text(f"summary of {len(entries_of(request))}")
    return reply(text("fine"), usage=TokenUsage(20, 5) if opening(request) else FULL)


@asynccontextmanager
async def world_of(by: Callable[[BrainRequest], Scripted], **changes: Any) -> AsyncIterator[World]:
    changes = {"brains": {"tiny": TINY}, "compaction": {"keep_messages": 2}, **changes}
    world = make_world(**changes)
    world.brain._by = by
    await world.harness.start()
    yield world
    await world.harness.stop()


async def turns(world: World, session: SessionId, *words: str) -> list[dict[str, Any]]:
    for number, each in enumerate(words, 1):
        await world.send(session, message(each))
        await world.idle(session, number)
    await world.quiet()
    return await world.log(session)


def words(request: BrainRequest) -> list[tuple[str, list[str]]]:
    return [
        (each["role"], [block.get("text", block["type"]) for block in each["content"]]) for each in request.messages
    ]


async def test_a_full_context_is_compacted_before_the_next_request_and_the_log_keeps_everything() -> None:
    async with world_of(answers) as world:
        session = await world.create()
        log = await turns(world, session, "one", "two", "three")
        kinds = [event["type"] for event in log if event["type"] in (*SPANS, COMPACTED, "agent.message")]
        assert kinds == [
            *(SPANS[0], "agent.message", SPANS[1]),
            *(SPANS[0], COMPACTED, SPANS[1]),
            *(SPANS[0], "agent.message", SPANS[1]),
            *(SPANS[0], "agent.message", SPANS[1]),
        ]
        [compacted] = [event for event in log if event["type"] == COMPACTED]
        assert set(compacted) == {"id", "type", "processed_at"}
        said = [event["content"][0]["text"] for event in log if event["type"] == "user.message"]
        assert said == ["one", "two", "three"], "the log keeps what the context has lost"
        _, summary, second, third = world.brain.requests
        assert entries_of(summary) == ["<user>\none"]
        assert (summary.tools, summary.live, summary.max_tokens) == ([], False, 4096)
        assert opening(second) == "summary of 1"
        assert [(role, said[-1:]) for role, said in words(second)] == [
            ("user", [second.messages[0]["content"][0]["text"]]),
            ("assistant", ["fine"]),
            ("user", ["two"]),
        ]
        assert third.messages[: len(second.messages)] == second.messages, "the prefix is stable again"


async def test_a_summary_is_counted_and_metered_as_a_model_request() -> None:
    async with world_of(answers, brains={"tiny": TINY, "digester": DIGESTER}) as world:
        session = await world.create()
        await turns(world, session, "one", "two")
        assert [request.model for request in world.brain.requests] == [
            "claude-test",
            "auto:summarization",
            "claude-test",
        ]
        metered = {total.name: (total.count, total.input_tokens) for total in await world.meter.totals(session)}
        assert metered == {"claude-test": (2, 1520), "auto:summarization": (1, 10)}
        assert (await world.record(session)).usage.input_tokens == 1530


@pytest.mark.parametrize(
    ("budget", "priced", "expected"),
    [
        (None, False, ["auto:summarization", "claude-test"]),
        ("100", False, ["claude-test"]),
        ("100", True, ["auto:summarization", "claude-test"]),
    ],
)
def test_a_session_with_a_budget_is_summarized_by_what_has_a_price(
    budget: str | None, priced: bool, expected: list[str]
) -> None:
    digester = {**DIGESTER, "price": {"input_mtok": 1}} if priced else DIGESTER
    given_these = Settings.model_validate({"brains": {"tiny": TINY, "digester": digester}})
    registry = registry_of(given_these)
    compaction = Compaction(given_these, registry, Budgets(PRICES, registry), lambda: [])
    limit = {"max_list_cost": {"amount": budget, "currency": "USD"}} if budget else None
    assert compaction.models(SessionState(replace(RECORD, budget=limit))) == expected


async def test_the_sessions_own_model_makes_the_summary_when_the_one_meant_for_it_fails() -> None:
    def failing(request: BrainRequest) -> Scripted:
        return fail(transient=False) if request.model == "auto:summarization" else answers(request)

    async with world_of(failing, brains={"tiny": TINY, "digester": DIGESTER}) as world:
        session = await world.create()
        log = await turns(world, session, "one", "two")
        assert [event["type"] for event in log].count(COMPACTED) == 1
        assert "session.error" not in [event["type"] for event in log]
        assert [asks_for_summary(request) for request in world.brain.requests] == [False, True, True, False]


async def test_a_summary_is_tried_again_like_any_model_request() -> None:
    def failing(request: BrainRequest) -> Scripted:
        if asks_for_summary(request) and request.attempt < 3:
            return [text("half of"), fail()] if request.attempt == 1 else text("  ")
        return answers(request)

    async with world_of(failing, brain={"backoff_base_seconds": 0.001}) as world:
        session = await world.create()
        await turns(world, session, "one")
        await world.send(session, message("two"))
        for count in (1, 2):
            await world.until(session, "session.status_rescheduled", count)
            await world.sleepers(2)
            world.clock.advance(60)
        log = await world.idle(session, 2)
        errors = [event["error"]["type"] for event in log if event["type"] == "session.error"]
        assert errors == ["model_overloaded_error", "model_request_failed_error"]
        assert [event["type"] for event in log].count(COMPACTED) == 1


async def test_an_interrupt_ends_a_summary_and_the_next_turn_makes_it() -> None:
    gate = asyncio.Event()

    def slow(request: BrainRequest) -> Scripted:
        return text("half of", Hold(gate)) if asks_for_summary(request) and not gate.is_set() else answers(request)

    async with world_of(slow) as world:
        session = await world.create()
        await turns(world, session, "one")
        await world.send(session, message("two"))
        await world.brain.asked(2)
        await world.send(session, {"type": "user.interrupt"})
        log = await world.idle(session, 2)
        assert log[-1]["stop_reason"] == {"type": "end_turn"} and COMPACTED not in [event["type"] for event in log]
        gate.set()
        await world.send(session, message("three"))
        log = await world.idle(session, 3)
        assert [event["type"] for event in log].count(COMPACTED) == 1
        assert words(world.brain.requests[-1])[-1] == ("user", ["two", "three"])


async def test_what_is_said_during_a_summary_waits_and_comes_after_it() -> None:
    gate = asyncio.Event()

    def slow(request: BrainRequest) -> Scripted:
        return text("sum", Hold(gate), "mary") if asks_for_summary(request) else answers(request)

    async with world_of(slow) as world:
        session = await world.create()
        await turns(world, session, "one")
        await world.send(session, message("two"))
        await world.brain.asked(2)
        [echo] = await world.send(session, message("three"))
        assert echo["processed_at"] is None
        gate.set()
        log = await world.idle(session, 2)
        order = [event["type"] for event in log]
        assert order.index(COMPACTED) < [e["content"][0]["text"] if "content" in e else "" for e in log].index("three")
        assert words(world.brain.requests[-1])[-1] == ("user", ["two", "three"])


async def test_a_turn_of_many_tools_is_cut_between_answers_and_never_between_a_call_and_its_result() -> None:
    def working(request: BrainRequest) -> Scripted:
        if asks_for_summary(request):
            return text("summary")
        rounds = sum(each["role"] == "assistant" for each in request.messages)
        if opening(request) and rounds > 1:
            return text("done")
        return reply(tool_use("bash", {"command": "x"}), tool_use("read"), usage=FULL if rounds > 2 else TokenUsage(9))

    async with world_of(working) as world:
        session = await world.create()
        log = await turns(world, session, "go")
        assert log[-1]["stop_reason"] == {"type": "end_turn"}
        assert [event["type"] for event in log].count(COMPACTED) == 1
        shown = words(world.brain.requests[5])
        assert [(role, said[-2:]) for role, said in shown[1:]] == [
            ("assistant", ["tool_use", "tool_use"]),
            ("user", ["tool_result", "tool_result"]),
        ]
        told = entries_of(world.brain.requests[4])
        assert told[1] == '<assistant>\n[calls bash with {"command":"x"}]\n[calls read with {}]'
        assert told[2:4] == ["<tool>\nran bash", "<tool>\nran read"]


LONG = "prompt is too long: 207791 tokens > 200000 maximum"


def refusal(status: int = 400, words: str = LONG) -> Fail:
    return Fail(BrainFailure("request_failed", words, transient=False, refusal=Refusal(status, words)))


@pytest.mark.parametrize(
    ("status", "words", "expected"),
    [
        (400, LONG, True),
        (413, "no", True),
        (400, "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens", True),
        (400, "the request exceeds the available context size, try increasing it", True),
        (400, "The input (9000 tokens) is longer than the model's context length (8192 tokens).", True),
        (400, "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000", True),
        (400, "messages.1.content.0: unexpected value", False),
        (400, "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens", False),
        (400, "metadata.user_id: too long", False),
        (404, LONG, False),
    ],
)
def test_a_refusal_for_length_is_known_by_its_words(status: int, words: str, expected: bool) -> None:
    assert too_long(refusal(status, words).failure) is expected


def test_a_failure_that_is_no_refusal_is_none_for_length() -> None:
    assert not too_long(BrainFailure("request_failed", LONG, transient=True))


async def test_a_request_that_is_refused_as_too_long_is_made_again_after_a_summary() -> None:
    def strict(request: BrainRequest) -> Scripted:
        if not asks_for_summary(request) and len(request.messages) > 1 and not opening(request):
            return refusal()
        return text("summary" if asks_for_summary(request) else "fine")

    async with world_of(strict, brains={}) as world:
        session = await world.create()
        log = await turns(world, session, "one", "two")
        kinds = [event["type"] for event in log]
        assert "session.error" not in kinds and kinds.count(COMPACTED) == 1
        refused = [event["is_error"] for event in log if event["type"] == SPANS[1]]
        assert refused == [False, True, False, False]
        assert words(world.brain.requests[-1])[-1] == ("user", ["two"])


async def test_summaries_that_bring_nothing_end_the_turn_and_the_next_message_begins_anew() -> None:
    def hopeless(request: BrainRequest) -> Scripted:
        return text("s" * 3000) if asks_for_summary(request) else refusal()

    async with world_of(hopeless, brains={}, compaction={"max_futile": 2}) as world:
        session = await world.create()
        log = await turns(world, session, "one")
        assert [event["type"] for event in log].count(COMPACTED) == 2
        [error] = [event["error"] for event in log if event["type"] == "session.error"]
        assert (error["type"], error["retry_status"]) == ("compaction_limit_reached_error", {"type": "exhausted"})
        assert log[-1]["stop_reason"] == {"type": "retries_exhausted"}
        world.brain._by = answers
        await world.send(session, message("two"))
        log = await world.idle(session, 2)
        assert log[-1]["stop_reason"] == {"type": "end_turn"}, "the session lives"
        assert opening(world.brain.requests[-1]) is not None


async def test_a_conversation_that_one_summary_cannot_reach_takes_several() -> None:
    """The summarizer's own context is smaller than the session's: each request of its shows what it can hold."""
    digester = {**DIGESTER, "capabilities": {"context_tokens": 1200}}
    big = {**TINY, "capabilities": {"context_tokens": 6000}}

    def reading(request: BrainRequest) -> Scripted:
        if asks_for_summary(request):
            assert sum(map(len, entries_of(request))) <= 800, "(1200 - a quarter) * 0.85 tokens, less the question's"
            return text("short")
        return reply(text("y" * 4000), usage=TokenUsage())

    async with world_of(reading, brains={"big": big, "digester": digester}, compaction={"keep_messages": 0}) as world:
        session = await world.create()
        log = await turns(world, session, "x" * 4000, "x" * 4000)
        await world.send(session, message("x" * 4000))
        assert [event["type"] for event in await world.idle(session, 3)][len(log) :].count(COMPACTED) > 1
        assert log[-1]["stop_reason"] == {"type": "end_turn"}


async def test_a_new_owner_folds_the_same_context() -> None:
    async with world_of(answers) as world:
        session = await world.create()
        await turns(world, session, "one", "two", "three")
        live = world.harness._runners.known(session)
        assert live is not None
        restored = SessionState.restore(await world.store.log.load(session))
        assert restored.conversation.messages == live.state.conversation.messages
        assert vars(restored.conversation) == vars(live.state.conversation)


# -- every cut is a safe one -------------------------------------------------------------------------


def check_messages(messages: list[dict[str, Any]]) -> None:
    """What the Messages API demands of a conversation."""
    assert [each["role"] for each in messages] == (["user", "assistant"] * len(messages))[: len(messages)]
    expected: list[str] = []
    for each in messages:
        assert each["content"]
        results = [block["tool_use_id"] for block in each["content"] if block["type"] == "tool_result"]
        assert results == expected
        assert all(block["type"] == "tool_result" for block in each["content"][: len(results)])
        expected = [block["id"] for block in each["content"] if block["type"] == "tool_use"]


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_compacted_conversation_is_what_the_messages_api_takes(log: list[Event], data: st.DataObject) -> None:
    limits = {"keep_messages": data.draw(st.integers(0, 8)), "keep_share": data.draw(st.floats(0, 0.9))}
    tiny = {**TINY, "capabilities": {"context_tokens": data.draw(st.integers(256, 1000))}}
    given_these = Settings.model_validate({"brains": {"tiny": tiny}, "compaction": limits})
    registry = registry_of(given_these)
    compaction = Compaction(given_these, registry, Budgets(PRICES, registry), lambda: [])
    state, kept = SessionState(RECORD), list[Event]()
    for event in log:
        state.apply(event)
        kept.append(event)
        if state.calls or not state.conversation.awaits_model or not data.draw(st.booleans()):
            continue
        before, state.overlong = state.conversation.snapshot(), True
        keeps = compaction.due(state)
        assert keeps is not None and 0 <= keeps < len(before)
        for type_, hidden in (
            (EventType.MODEL_REQUEST_START, {"keeps": keeps}),
            (EventType.CONTEXT_COMPACTED, {"keeps": keeps, "summary": "S"}),
            (EventType.MODEL_REQUEST_END, None),
        ):
            made = Event(EventId(f"{event.id}_{type_}"), type_, {"is_error": False}, None, hidden=hidden)
            state.apply(made)
            kept.append(made)
        after = state.conversation.messages
        check_messages(after)
        assert summary_in(after[0]["content"][0]["text"]) == "S" and state.conversation.awaits_model
        assert after[len(after) - keeps + 1 :] == before[len(before) - keeps + 1 :], "what stays is not touched"
    again = SessionState.restore(SessionSnapshot(state.record, tuple(kept), ()))
    assert vars(again.conversation) == vars(state.conversation)


# -- the replay brain --------------------------------------------------------------------------------

PLAN = """
plans:
  - name: counting
    each_turn: true
    steps:
      - text: "{{ message }} of {{ prompt }} after {{ results | length }} results"
        tools: [{name: bash, input: {command: "true"}}]
      - text: done with {{ message }}
"""


async def test_a_replayed_plan_goes_on_after_a_summary() -> None:
    brain = ReplayBrain(PlanBook(parse_plans(yaml.safe_load(PLAN), "test")))
    world = make_world(
        brains={"tiny": {**TINY, "capabilities": {"context_tokens": 2400}}}, compaction={"keep_messages": 1}
    )
    harness = Harness(replace(world.ports, brain=brain), owner="harness-0")
    world.harness = harness
    await harness.start()
    session = await world.create()
    log = await turns(world, session, *(f"turn {number} {'.' * 600}" for number in range(6)))
    said = [
        event["content"][0]["text"].replace(f" {'.' * 600}", "") for event in log if event["type"] == "agent.message"
    ]
    assert [event["type"] for event in log].count(COMPACTED) >= 2
    assert said[0].endswith("turn 0 of turn 0 after 0 results") and said[1] == "done with turn 0"
    assert said[2:] == [
        each for n in range(1, 6) for each in (f"turn {n} of turn 0 after {n} results", f"done with turn {n}")
    ]
    await harness.stop()


# -- the owner dies ----------------------------------------------------------------------------------


def with_id(event: dict[str, Any], number: int) -> dict[str, Any]:
    return {**event, "id": f"sevt_client_{number}"}


def mortal_answers(request: BrainRequest) -> Scripted:
    if asks_for_summary(request):
        return [text("half of"), fail()] if request.attempt == 1 else text(f"summary of {len(entries_of(request))}")
    if opening(request) is None:
        return reply(text("looking"), tool_use("bash", {"command": "ls"}), usage=FULL)
    return reply(text("done"), usage=TokenUsage(9))


async def story(session: Reborn) -> None:
    await session.create(with_id(message("go"), 0))
    await session.wait_for("session.status_idle")


async def told(crashes: Callable[[int, str], bool]) -> tuple[Reborn, list[Event]]:
    session = Reborn(mortal_answers, crashes, brains={"tiny": TINY}, compaction={"keep_messages": 1})
    await session.tell(story)
    return session, list((await session.world.store.log.load(session.session)).events)


@pytest.fixture
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_quiet")
async def test_the_owner_may_die_anywhere_and_the_context_is_compacted_once() -> None:
    calm, log = await told(lambda _, __: False)
    undisturbed = plain(log)
    kinds = [event.type for event in log]
    assert kinds.count(EventType.CONTEXT_COMPACTED) == 1 and kinds.count(EventType.SESSION_RESCHEDULED) == 1
    # What concerns leases is told by test_resume.py.
    ours = [number for number, point in enumerate(calm.points) if "append" in point or "model" in point]
    for number in ours:
        session, log = await told(lambda index, _, number=number: index == number)
        assert plain(log) == undisturbed
        assert session.lives == 2


# -- settings ----------------------------------------------------------------------------------------


def test_the_defaults_leave_the_contexts_of_ordinary_sessions_alone() -> None:
    given_nothing = Settings().compaction
    assert (given_nothing.share, given_nothing.max_futile) == (0.85, 2)


async def test_a_first_message_is_never_summarized_unasked() -> None:
    brain = ScriptedBrain()
    async with world_of(lambda _: text("fine")) as world:
        session = await world.create()
        await turns(world, session, "x" * 100_000)
        assert [asks_for_summary(request) for request in world.brain.requests] == [False]
    assert not brain.requests
