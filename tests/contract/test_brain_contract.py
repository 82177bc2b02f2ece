"""What every brain must do.

Run over the scripted and the replay brain, against the stub over claude and server, and over transformers with the
tiny model.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from agents.brain_settings import BrainDefinition, ServerSettings
from agents.brains.assembly import Answer, AnswerAssembler
from agents.brains.claude import ClaudeBrain
from agents.brains.plan import PlanBook, parse_plans
from agents.brains.port import Brain, BrainFailure, BrainRequest, Engine
from agents.brains.replay import ReplayBrain
from agents.brains.scripted import BlockScript, Hold, ScriptedBrain, fail, text, tool_use
from agents.brains.server.engine import ServerEngine
from agents.brains.transformers.engine import TransformersBrain
from agents.clock import ManualClock
from agents.config import BrainSettings
from agents.vault import MemoryVault
from tests.stub_model import RunningStub, relay, running_stub
from tests.tiny_model import forced, tiny_definition


@dataclass
class Told:
    """An answer in words that every brain can be told: a text, calls of tools, a failure or a stall after the text."""

    text: str = ""
    tools: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    fails: bool = False
    stalls: bool = False


class Stage(Protocol):
    """One kind of brain, set up to give the told answers."""

    def brain(self, *told: Told) -> Brain: ...

    async def cancelled(self) -> bool:
        """Whether the generation was cancelled, as far as this kind can tell."""
        ...


class ScriptedStage:
    def brain(self, *told: Told) -> Brain:
        self._brain = ScriptedBrain(*[self._answer(one) for one in told])
        return self._brain

    def _answer(self, told: Told) -> list[Any]:
        if told.fails:
            return [fail("request_failed", transient=False)]
        hold = [Hold(asyncio.Event())] if told.stalls else []
        blocks: list[BlockScript] = [text(told.text, *hold)] if told.text else []
        return [*blocks, *(tool_use(name, given) for name, given in told.tools)]

    async def cancelled(self) -> bool:
        return self._brain.closed_early == 1


class ReplayStage:
    """A stall is a pause of a clock that nobody moves; a failure is a template that cannot be rendered."""

    def brain(self, *told: Told) -> Brain:
        steps = [self._step(one) for one in told]
        pace = {"characters_per_second": 1} if any(one.stalls for one in told) else {}
        plans = parse_plans({"plans": [{"name": "told", "pace": pace, "steps": steps}]}, "test")
        self.clock = ManualClock()
        return ReplayBrain(PlanBook(plans), clock=self.clock)

    def _step(self, told: Told) -> dict[str, Any]:
        if told.fails:
            return {"text": "{{ no_such_name }}"}
        tools = [{"name": name, "input": given} for name, given in told.tools]
        return {"text": told.text, "tools": tools} if tools else {"text": told.text}

    async def cancelled(self) -> bool:
        return self.clock.sleeping == 0


class StubStage:
    """An engine that ends up asking the stub."""

    def __init__(self, stub: RunningStub, engine: Engine) -> None:
        self._stub = stub
        self._brain = engine

    def brain(self, *told: Told) -> Brain:
        self._stub.model.script(*[self._answer(one) for one in told])
        return self._brain

    def _answer(self, told: Told) -> dict[str, Any]:
        if told.fails:
            return {"status": 400, "error_type": "invalid_request_error", "message": "no"}
        content: list[dict[str, Any]] = []
        if told.text:
            content.append({"type": "text", "text": [told.text, {"gate": "never"}] if told.stalls else told.text})
        content += [{"type": "tool_use", "name": name, "input": given} for name, given in told.tools]
        return {"content": content}

    async def cancelled(self) -> bool:
        return bool(await self._stub.model.seen(1, closed=1))


def claude_engine(stub: RunningStub) -> Engine:
    return ClaudeBrain(BrainSettings(base_url=stub.url), MemoryVault({"anthropic_api_key": "sk"}))


def server_engine(stub: RunningStub) -> Engine:
    command = [sys.executable, "-S", "-E", relay.__file__, "{port}", stub.url.rpartition(":")[2]]
    server = ServerSettings(command=command, health_path="/_health")
    return ServerEngine(BrainDefinition(engine="server", model="claude-test", server=server), BrainSettings())


@asynccontextmanager
async def stub_stage(make: Callable[[RunningStub], Engine]) -> AsyncIterator[Stage]:
    async with running_stub() as stub:
        engine = make(stub)
        await engine.start()
        yield StubStage(stub, engine)
        await engine.aclose()


ENGINES = {"claude": claude_engine, "server": server_engine}


class TransformersStage:
    """The tiny model is made to say the answers; a failure is a context that is too short for any question.

    The engine starts with the first question, when the answers are known.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._starting = asyncio.Lock()
        self._engine: TransformersBrain | None = None

    def brain(self, *told: Told) -> Brain:
        capabilities = {"context_tokens": 256 if any(one.fails for one in told) else 4096}
        self._definition = tiny_definition(capabilities=capabilities)
        self._answers = [(self._answer(one), one.stalls) for one in told]
        return self

    def _answer(self, told: Told) -> str:
        calls = [json.dumps({"name": name, "arguments": given}) for name, given in told.tools]
        return told.text + "".join(f"\n<tool_call>\n{call}\n</tool_call>" for call in calls)

    async def think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        engine = await self._started()
        async with contextlib.aclosing(engine.think(request)) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    async def _started(self) -> TransformersBrain:
        async with self._starting:
            if self._engine is None:
                self._stack.enter_context(forced(*self._answers))
                self._engine = TransformersBrain(self._definition, BrainSettings())
                self._stack.push_async_callback(self._engine.aclose)
                await self._engine.start()
            return self._engine

    async def cancelled(self) -> bool:
        """Whether the slot is free, as it is after the round that is under way."""
        while self._engine is None or self._engine.under_way:
            await asyncio.sleep(0)
        return True


@asynccontextmanager
async def transformers_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield TransformersStage(stack)


@pytest.fixture(params=["scripted", "replay", *ENGINES, "transformers"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    if request.param in ENGINES:
        async with stub_stage(ENGINES[request.param]) as stage:
            yield stage
    elif request.param == "transformers":
        async with transformers_stage() as stage:
            yield stage
    else:
        yield ScriptedStage() if request.param == "scripted" else ReplayStage()


def ask(*messages: dict[str, Any]) -> BrainRequest:
    history = list(messages) or [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    return BrainRequest("sesn_1", "claude-test", history, system="be brief", tools=[{"name": "bash"}])


async def think(brain: Brain, request: BrainRequest) -> Answer:
    assembler = AnswerAssembler()
    async with asyncio.timeout(10):
        async for event in brain.think(request):
            assembler.feed(event)
    return assembler.finish()


def after(request: BrainRequest, answer: Answer, *results: str) -> BrainRequest:
    """The conversation as the loop continues it."""
    calls = [block for block in answer.blocks if block.kind == "tool_use"]
    content = [
        {"type": "tool_result", "tool_use_id": call.tool_use_id, "content": [{"type": "text", "text": result}]}
        for call, result in zip(calls, results, strict=True)
    ]
    reply = {"role": "assistant", "content": [block.raw for block in answer.blocks]}
    return ask(*request.messages, reply, {"role": "user", "content": content})


async def test_a_text_answer_ends_the_turn(stage: Stage) -> None:
    answer = await think(stage.brain(Told("Good morning.")), ask())
    assert [block.kind for block in answer.blocks] == ["text"]
    assert answer.blocks[0].text.endswith("Good morning.")
    assert answer.stop_reason == "end_turn"


async def test_tool_calls_come_whole_with_distinct_ids(stage: Stage) -> None:
    told = Told("Look:", [("bash", {"command": "ls | wc -l"}), ("read", {"path": "größe.txt", "limit": 3})])
    answer = await think(stage.brain(told), ask())
    calls = [block for block in answer.blocks if block.kind == "tool_use"]
    assert [(call.name, call.input) for call in calls] == told.tools
    assert len({call.tool_use_id for call in calls} - {""}) == 2
    assert answer.stop_reason == "tool_use"


async def test_a_conversation_goes_on_after_tool_results(stage: Stage) -> None:
    brain = stage.brain(Told("", [("bash", {"command": "ls"})]), Told("Done."))
    request = ask()
    first = await think(brain, request)
    second = await think(brain, after(request, first, "a.txt"))
    assert second.blocks[-1].text == "Done."


async def test_usage_is_reported(stage: Stage) -> None:
    usage = (await think(stage.brain(Told("Some words to count.")), ask())).usage
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


async def test_events_are_plain_dicts_from_start_to_stop(stage: Stage) -> None:
    async with asyncio.timeout(10):
        events = [event async for event in stage.brain(Told("x")).think(ask())]
    assert all(type(event) is dict for event in events)
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")


async def test_the_request_is_left_as_it_was(stage: Stage) -> None:
    request, untouched = ask(), ask()
    await think(stage.brain(Told("x")), request)
    assert request == untouched


async def test_a_failure_is_a_brain_failure(stage: Stage) -> None:
    with pytest.raises(BrainFailure) as caught:
        await think(stage.brain(Told(fails=True)), ask())
    assert (caught.value.kind, caught.value.transient) == ("request_failed", False)


async def read_until_text(brain: Brain, reached: asyncio.Event) -> None:
    async with contextlib.aclosing(brain.think(ask())) as events:  # type: ignore[type-var]
        async for event in events:
            if event["type"] in ("content_block_start", "content_block_delta"):
                reached.set()


async def test_closing_early_cancels_the_generation(stage: Stage) -> None:
    async with asyncio.timeout(10):
        async with contextlib.aclosing(stage.brain(Told("half", stalls=True)).think(ask())) as events:  # type: ignore[type-var]
            async for event in events:
                if event["type"] == "content_block_start":
                    break
        assert await stage.cancelled()


async def test_cancelling_the_reader_cancels_the_generation(stage: Stage) -> None:
    reached = asyncio.Event()
    async with asyncio.timeout(10):
        reader = asyncio.create_task(read_until_text(stage.brain(Told("half", stalls=True)), reached))
        await reached.wait()
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert await stage.cancelled()


async def test_many_conversations_share_one_brain(stage: Stage) -> None:
    brain = stage.brain(*[Told("same") for _ in range(20)])
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(think(brain, ask())) for _ in range(20)]
    assert {task.result().blocks[-1].text.splitlines()[-1] for task in asked} == {"same"}
