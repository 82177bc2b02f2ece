"""The simulated brain on a clock that jumps: what it says is the plan's, when it says it is the GPU's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.counting import estimate
from agents.brains.factory import make_engine
from agents.brains.local_pools import LocalPools
from agents.brains.plan import PlanBook, PlanError, parse_plans
from agents.brains.port import BrainFailure, BrainLost, BrainRequest, EngineUnusable
from agents.brains.registry import registry_of
from agents.brains.replay import NOTICE, ReplayBrain
from agents.brains.service_time import ServiceTime
from agents.brains.simulated import SimulatedBrain
from agents.brains.simulated_prompt import marker
from agents.brains.summarizing import SYSTEM
from agents.clock import ManualClock
from agents.config import Settings
from agents.telemetry.metrics import render_metrics
from agents.vault import MemoryVault
from tests.unit.brains.answers import answer_of, user
from tests.unit.waiting import until

TIMES = ServiceTime(prefill_tokens_per_second=1024, step_seconds=1 / 64, step_seconds_per_answer=1 / 512, max_batch=2)
TURNS = 20
"""Of the event loop, in which everybody has had his say."""

Moments = list[tuple[float, dict[str, Any]]]


class JumpingClock(ManualClock):
    """Goes on to the next moment once everybody waits for it: only the GPU sleeps here."""

    async def sleep(self, seconds: float) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self.advance(max(seconds, 0))


def book(*steps: dict[str, Any], **plan: Any) -> PlanBook:
    return PlanBook(parse_plans({"plans": [{"name": "p", "steps": list(steps), **plan}]}, "test"))


def brain_of(*steps: dict[str, Any], times: ServiceTime = TIMES, clock: ManualClock | None = None) -> SimulatedBrain:
    return SimulatedBrain(book(*steps), times, clock=clock or JumpingClock())


def ask(*messages: dict[str, Any], **fields: Any) -> BrainRequest:
    return BrainRequest("sesn_7", "m", list(messages or [user("go")]), **fields)


async def moments(brain: SimulatedBrain, request: BrainRequest) -> Moments:
    async with asyncio.timeout(5):
        return [(brain._clock.monotonic(), event) async for event in brain.think(request)]


def usage_of(seen: Moments) -> dict[str, Any]:
    return seen[0][1]["message"]["usage"] | seen[-2][1]["usage"]


STEP = {"text": "I look. " * 10, "tools": [{"name": "bash", "input": {"command": "du"}}, {"name": "read"}]}


@pytest.mark.parametrize("live", [True, False])
async def test_it_says_what_the_replay_brain_says(live: bool) -> None:
    request = ask(live=live)
    simulated, replayed = await answer_of(brain_of(STEP), request), await answer_of(ReplayBrain(book(STEP)), request)
    assert simulated.blocks == replayed.blocks
    assert simulated.stop_reason == replayed.stop_reason == "tool_use"
    assert simulated.usage == replayed.usage
    assert simulated.blocks[0].text.startswith(NOTICE)


async def test_an_answer_takes_the_time_of_its_tokens_and_is_seen_as_it_is_written() -> None:
    brain, request = brain_of({"text": "word " * 40}), ask()
    seen = await moments(brain, request)
    usage = usage_of(seen)
    assert usage["input_tokens"] == estimate(request) == await brain.count_tokens(request)
    read, written = TIMES.prefill_seconds(usage["input_tokens"]), usage["output_tokens"]
    assert (seen[0][1]["type"], seen[0][0]) == ("message_start", read + TIMES.seconds_per_step(1))
    assert seen[-1][0] == read + written * TIMES.seconds_per_step(1)
    text = ""
    for at, event in seen:
        text += event.get("delta", {}).get("text", "")
        assert len(text) <= len("".join(each.get("delta", {}).get("text", "") for _, each in seen)) * (
            (at - read) / TIMES.seconds_per_step(1) / written
        )
    assert len({at for at, _ in seen}) > written / 3


async def test_who_is_not_watched_answers_in_two_pieces() -> None:
    seen = await moments(brain_of({"text": "word " * 400}), ask(live=False))
    assert len({at for at, _ in seen}) == 2
    assert len(seen) < 10


async def test_requests_share_the_batch_and_the_rest_wait() -> None:
    brain = brain_of({"text": "word " * 20})
    seen = await asyncio.gather(*(moments(brain, ask(user(f"go {number}"))) for number in range(3)))
    usages = [usage_of(each) for each in seen]
    # Of the others nothing was read before but the system prompt, which all have.
    reads = [TIMES.prefill_seconds(usage["input_tokens"]) for usage in usages]
    tokens = usages[0]["output_tokens"]
    together = sum(reads[:2]) + tokens * TIMES.seconds_per_step(2)
    assert [each[-1][0] for each in seen[:2]] == [together, together]
    third = reads[2] + tokens * TIMES.seconds_per_step(1)
    assert seen[2][-1][0] == pytest.approx(together + third)
    figures = brain.figures()
    assert figures["gpu_requests_done"] == 3
    assert figures["gpu_tokens_written"] == 3 * tokens
    assert figures["gpu_tokens_read"] == sum(usage["input_tokens"] for usage in usages)
    assert figures["gpu_tokens_cached"] == sum(usage["cache_read_input_tokens"] for usage in usages)
    assert figures["gpu_busy_seconds"] == seen[2][-1][0]


async def test_a_conversation_that_goes_on_is_not_read_from_its_beginning() -> None:
    brain = brain_of({"text": "One."}, {"text": "Two."})
    first, question = ask(user("word " * 400)), user("and?")
    answer = await answer_of(brain, first)
    assert answer.usage.cache_read_input_tokens == 0
    said = {"role": "assistant", "content": [block.raw for block in answer.blocks]}
    usage = (await answer_of(brain, ask(*first.messages, said, question))).usage
    assert usage.cache_read_input_tokens == answer.usage.input_tokens
    assert usage.input_tokens < 60


async def test_a_message_says_how_long_a_conversation_it_stands_for() -> None:
    """Each answer reads what the message stands for; the one that ends the turn is so much longer."""
    brain = brain_of({"text": "One.", "tools": [{"name": "bash"}]}, {"text": "Two."})
    bare = ask(user("go "))
    marked = ask(user(f"go {marker(input_tokens=3000, output_tokens=100)}"))
    step = await answer_of(brain, marked)
    assert 3000 < step.usage.input_tokens < 3000 + 2 * estimate(bare) + 20
    assert step.usage.output_tokens < 100
    call = step.blocks[-1]
    result = {"type": "tool_result", "tool_use_id": call.tool_use_id, "content": "17"}
    said = {"role": "assistant", "content": [block.raw for block in step.blocks]}
    end = await answer_of(brain, ask(*marked.messages, said, {"role": "user", "content": [result]}))
    assert end.usage.cache_read_input_tokens > 3000
    assert 100 < end.usage.output_tokens < 120


async def test_a_step_says_how_many_tokens_it_stands_for() -> None:
    template = {"text": "x", "simulate": {"output_tokens": "{{ message | find('length ([0-9]+)') }}"}}
    request = ask(user("length 700"))
    plain, counted = brain_of({"text": "x"}), brain_of({"text": "x", "simulate": {"output_tokens": 700}})
    own = (await answer_of(plain, request)).usage.output_tokens
    for brain in (counted, brain_of(template), ReplayBrain(book(template))):
        assert (await answer_of(brain, request)).usage.output_tokens == own + 700
    shortest = await answer_of(counted, ask(user("length 700"), max_tokens=300))
    assert shortest.usage.output_tokens == 300
    assert (await answer_of(counted, ask(user("length 700"), max_tokens=1))).usage.output_tokens == own


async def test_what_is_no_number_of_tokens_fails_the_request_and_is_named() -> None:
    brain = brain_of({"text": "x", "simulate": {"output_tokens": "{{ message }}"}})
    with pytest.raises(BrainFailure, match=r"step 0 .*simulate\.output_tokens is no number of tokens: 'go'") as caught:
        await answer_of(brain, ask())
    assert not caught.value.transient
    assert brain.under_way == 0
    for wrong in ({"output_tokens": -1}, {"output_tokens": "{{"}, {"tokens": 1}):
        with pytest.raises(PlanError, match="simulate"):
            book({"text": "x", "simulate": wrong})


async def test_a_summary_takes_its_time_and_owns_up() -> None:
    brain = brain_of({"text": "x"})
    blocks = [{"type": "text", "text": text} for text in ("<user>\ngo", "summarize")]
    seen = await moments(brain, ask({"role": "user", "content": blocks}, system=SYSTEM))
    assert seen[-1][0] == pytest.approx(brain.figures()["gpu_busy_seconds"]) and seen[-1][0] > 0.1
    assert NOTICE in "".join(event.get("delta", {}).get("text", "") for _, event in seen)


async def read_some(events: AsyncIterator[dict[str, Any]]) -> None:
    while (await anext(events))["type"] != "content_block_delta":
        pass


async def test_a_reader_that_leaves_gives_its_place_to_the_next() -> None:
    brain = brain_of({"text": "word " * 1000}, times=TIMES.model_copy(update={"max_batch": 1}))
    request = ask(max_tokens=10)
    async with contextlib.aclosing(generator(brain, request)) as events:
        await read_some(events)
        waiting = asyncio.create_task(moments(brain, request))
        await until(lambda: brain.under_way == 2)
        left = brain._clock.monotonic()
    seen = await waiting
    figures = brain.figures()
    assert (figures["gpu_requests_done"], figures["gpu_requests_cancelled"]) == (1, 1)
    usage = usage_of(seen)
    alone = TIMES.prefill_seconds(usage["input_tokens"]) + usage["output_tokens"] * TIMES.seconds_per_step(1)
    assert seen[-1][0] - left < alone + 2 * TURNS * TIMES.seconds_per_step(1)
    assert brain.under_way == 0


def generator(brain: SimulatedBrain, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
    events = brain.think(request)
    assert isinstance(events, AsyncGenerator)
    return events


async def test_at_the_end_requests_under_way_are_lost_and_nothing_runs_on() -> None:
    brain = brain_of({"text": "x"}, clock=ManualClock())
    asked = [asyncio.create_task(answer_of(brain, ask())) for _ in range(3)]
    await until(lambda: brain.under_way == 3)
    await brain.aclose()
    for each in asked:
        with pytest.raises(BrainLost):
            await each
    with pytest.raises(BrainLost):
        await answer_of(brain, ask())
    await brain.aclose()
    brain.check()
    assert brain.under_way == 0


async def test_the_end_waits_for_no_reader_that_has_stopped_to_read() -> None:
    brain = brain_of({"text": "word " * 1000}, clock=(clock := ManualClock()))
    async with contextlib.aclosing(generator(brain, ask())) as events:
        first = asyncio.ensure_future(anext(events))
        await until(lambda: clock.sleeping)
        clock.advance(1)
        await first
        async with asyncio.timeout(5):
            await brain.aclose()
        with pytest.raises(BrainLost):
            await read_some(events)
            await anext(events)


async def test_a_gpu_that_fails_loses_its_requests_and_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    brain = brain_of({"text": "x"})
    brain.check()
    monkeypatch.setattr(brain._gpu, "due", lambda: 1 / 0)
    with pytest.raises(BrainLost):
        await answer_of(brain, ask())
    with pytest.raises(EngineUnusable, match="ZeroDivisionError"):
        brain.check()


async def test_it_is_declared_with_its_times_and_counts_what_it_does() -> None:
    settings = Settings(brains={"gpu": BrainDefinition(engine="simulated", simulated=ServiceTime(max_batch=3))})
    registry = registry_of(settings)
    [brain] = registry.brains
    engine = make_engine(brain.definition, settings, MemoryVault())
    assert isinstance(engine, SimulatedBrain)
    assert engine._gpu._times.max_batch == 3
    engine = brain_of({"text": "x"})
    pools = LocalPools(registry, {brain.id: engine}, settings.brain)
    busy = (await moments(engine, ask()))[-1][0]
    figures = pools.engine_figures(brain.id)
    assert figures["gpu_busy_seconds"] == busy
    text = render_metrics({}, {}, engines={(brain.id, "r1"): figures}).decode()
    assert f'hecaton_brain_replica_gpu_busy_seconds{{brain="gpu@1",replica="r1"}} {busy}' in text
    replaying = LocalPools(registry, {brain.id: ReplayBrain(book({"text": "x"}))}, settings.brain)
    assert replaying.engine_figures(brain.id) == {}
