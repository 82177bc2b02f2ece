"""A session outlives the context of its brain: summaries take the place of what is older, and the log keeps it all.

Bug class this catches: a session that dies of a full context, a tool's result without its call, a summary that is made
twice or paid by nobody, words of the user that are gone from the log.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import yaml

from agents.brains.assembly import TokenUsage
from agents.brains.plan import PlanBook, parse_plans
from agents.brains.policy import estimated_tokens
from agents.brains.port import BrainRequest
from agents.brains.replay import ReplayBrain
from agents.brains.scripted import Hold, Scripted, fail, reply, text, tool_use
from agents.brains.summarizing import asks_for_summary, entries_of
from agents.sessions.harness import Harness

from .compacting import (
    COMPACTED,
    DIGESTER,
    FULL,
    SPANS,
    TINY,
    answers,
    opening,
    refusal,
    turns,
    words,
    world_of,
)
from .conftest import make_world, message

PLAN = """
plans:
  - name: counting
    each_turn: true
    steps:
      - text: "{{ message }} of {{ prompt }} after {{ results | length }} results"
        tools: [{name: bash, input: {command: "true"}}]
      - text: done with {{ message }}
"""


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
        assert (summary.tools, summary.live, summary.max_tokens) == ([], False, 318), "a quarter of 85 % of 1500"
        assert opening(second) == "summary of 1"
        assert [(role, said[-1:]) for role, said in words(second)] == [
            ("user", [second.messages[0]["content"][0]["text"]]),
            ("assistant", ["fine"]),
            ("user", ["two"]),
        ]
        assert third.messages[: len(second.messages)] == second.messages, "the prefix is stable again"


async def test_metrics_tell_how_much_shorter_contexts_became() -> None:
    async with world_of(answers) as world:
        session = await world.create()
        await turns(world, session, "x" * 4000, "two", "three")
        figures = world.harness.figures
        long, fine, two = (estimated_tokens([{"type": "text", "text": each}]) for each in ("x" * 4000, "fine", "two"))
        shown = sum(estimated_tokens(each["content"]) for each in world.brain.requests[2].messages)
        assert (figures["compactions"], figures["compactions_futile"]) == (1, 0)
        assert (figures["compaction_tokens_before"], figures["compaction_tokens_after"]) == (long + fine + two, shown)


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


async def test_the_sessions_own_model_makes_the_summary_when_the_one_meant_for_it_fails() -> None:
    def failing(request: BrainRequest) -> Scripted:
        return [text("no"), fail(transient=False)] if request.model == "auto:summarization" else answers(request)

    async with world_of(failing, brains={"tiny": TINY, "digester": DIGESTER}) as world:
        session = await world.create()
        log = await turns(world, session, "one", "two")
        assert [event["type"] for event in log].count(COMPACTED) == 1
        assert "session.error" not in [event["type"] for event in log]
        assert [asks_for_summary(request) for request in world.brain.requests] == [False, True, True, False]
        spent = [event["model_usage"]["input_tokens"] for event in log if event["type"] == SPANS[1]]
        assert spent == [1500, 20, 20], "what the first one consumed is counted, too"


async def test_a_summary_is_tried_again_like_any_model_request() -> None:
    shown = list[list[str]]()

    def failing(request: BrainRequest) -> Scripted:
        if asks_for_summary(request):
            shown.append(entries_of(request))
        if asks_for_summary(request) and request.attempt < 3:
            return [text("half of"), fail()] if request.attempt == 1 else text("  ")
        return answers(request)

    async with world_of(failing, brain={"backoff_base_seconds": 0.001}) as world:
        session = await world.create()
        await turns(world, session, "x" * 1900)
        await world.send(session, message("two"))
        for count in (1, 2):
            await world.until(session, "session.status_rescheduled", count)
            await world.sleepers(2)
            world.clock.advance(60)
        log = await world.idle(session, 2)
        errors = [event["error"]["type"] for event in log if event["type"] == "session.error"]
        assert errors == ["model_overloaded_error", "model_request_failed_error"]
        assert [event["type"] for event in log].count(COMPACTED) == 1
        assert shown[0] == shown[1] == shown[2], "only a refusal for length makes it shorter"


async def test_a_summary_that_is_refused_as_too_long_is_asked_for_with_half_as_much() -> None:
    def strict(request: BrainRequest) -> Scripted:
        if asks_for_summary(request) and sum(map(len, entries_of(request))) > 1500:
            return refusal()
        return answers(request)

    async with world_of(strict) as world:
        session = await world.create()
        await turns(world, session, "x" * 9000)
        await world.send(session, message("two"))
        await world.until(session, "session.status_rescheduled")
        await world.sleepers(2)
        world.clock.advance(60)
        log = await world.idle(session, 2)
        assert [event["type"] for event in log].count(COMPACTED) == 1
        first, second = (sum(map(len, entries_of(each))) for each in world.brain.requests if asks_for_summary(each))
        assert second <= first // 2 + 1


async def test_summaries_are_no_tool_rounds() -> None:
    def working(request: BrainRequest) -> Scripted:
        if asks_for_summary(request):
            return text("summary")
        return reply(tool_use("bash", {"command": "x"}), usage=FULL)

    async with world_of(working, harness={"max_tool_rounds": 4}) as world:
        session = await world.create()
        log = await turns(world, session, "go")
        assert [event["type"] for event in log].count(COMPACTED) == 3
        [error] = [event["error"] for event in log if event["type"] == "session.error"]
        assert error["message"] == "The turn made 4 model requests, which is the limit."


async def test_nobody_is_shown_a_preview_of_a_summary() -> None:
    async with world_of(answers) as world:
        session = await world.create()
        await turns(world, session, "one")
        async with world.stream(session, "agent.message") as events:
            await world.send(session, message("two"))
            shown = list[dict[str, Any]]()
            async for event in events:
                shown.append(event)
                if event["type"] == "session.status_idle":
                    break
        [said] = [event["id"] for event in shown if event["type"] == "agent.message"]
        assert [event["event"]["id"] for event in shown if event["type"] == "event_start"] == [said]


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
        assert (world.harness.figures["compactions"], world.harness.figures["compactions_futile"]) == (2, 2)
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
        return reply(text("y" * 300), usage=TokenUsage())

    async with world_of(reading, brains={"big": big, "digester": digester}, compaction={"keep_messages": 0}) as world:
        session = await world.create()
        log = await turns(world, session, *["x" * 400] * 15)
        await world.send(session, message("x" * 8000))
        turn = (await world.idle(session, 16))[len(log) :]
        assert [event["type"] for event in turn].count(COMPACTED) > 4
        assert turn[-1]["stop_reason"] == {"type": "end_turn"}, "each of them is worth it"
        assert log[-1]["stop_reason"] == {"type": "end_turn"}


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
    said = [re.sub(r" \.+", "", event["content"][0]["text"]) for event in log if event["type"] == "agent.message"]
    assert [event["type"] for event in log].count(COMPACTED) >= 2
    assert said[0].endswith("turn 0 of turn 0 after 0 results") and said[1] == "done with turn 0"
    assert said[2:] == [
        each for n in range(1, 6) for each in (f"turn {n} of turn 0 after {n} results", f"done with turn {n}")
    ]
    await harness.stop()


async def test_a_first_message_is_never_summarized_unasked() -> None:
    async with world_of(lambda _: text("fine")) as world:
        session = await world.create()
        await turns(world, session, "x" * 100_000)
        assert [asks_for_summary(request) for request in world.brain.requests] == [False]
