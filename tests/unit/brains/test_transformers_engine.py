"""The transformers engine with the tiny model: it loads, batches, stops, counts, is cancelled, and fails well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from transformers import LlamaForCausalLM

from agents.brain_settings import BrainDefinition
from agents.brains.factory import make_engine
from agents.brains.port import BrainFailure, BrainLost, BrainRequest, EngineUnusable
from agents.brains.transformers import engine as engine_module
from agents.brains.transformers.chat import chat_of
from agents.brains.transformers.decoder import MOST_FAILURES
from agents.brains.transformers.engine import TransformersBrain
from agents.brains.transformers.loading import load
from agents.config import BrainSettings, Settings
from agents.vault import MemoryVault
from tests.tiny_model import ForcedModel, forced, tiny_definition, tiny_folder
from tests.unit.brains.answers import answer_of
from tests.unit.waiting import until

TOOLS = [{"name": "bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}]


def engine_of(definition: BrainDefinition) -> TransformersBrain:
    engine = make_engine(definition, Settings(), MemoryVault())
    assert isinstance(engine, TransformersBrain)
    return engine


@asynccontextmanager
async def running(definition: BrainDefinition | None = None) -> AsyncIterator[TransformersBrain]:
    engine = engine_of(definition or tiny_definition())
    await engine.start()
    try:
        yield engine
    finally:
        await engine.aclose()


def ask(text: str = "hello", *, max_tokens: int = 12, **more: Any) -> BrainRequest:
    return BrainRequest("sesn_1", "tiny", [{"role": "user", "content": text}], max_tokens=max_tokens, **more)


def decoder_in(engine: TransformersBrain) -> Any:
    return engine._running.decoder  # type: ignore[union-attr]


LENGTHS = [1, 700, 3, 150, 40, 333, 90, 5, 61, 20]


async def test_a_request_is_answered_the_same_alone_and_among_others() -> None:
    """Ten requests of all lengths share three slots: each joins while others are under way, and leaves before them."""
    requests = [
        ask(f"{length} " + "x" * length, max_tokens=10 + 7 * (length % 4)) for place, length in enumerate(LENGTHS)
    ]
    settings = {"max_batch": 3, "prefill_tokens": 128}
    async with running(tiny_definition(transformers=settings)) as engine:
        together = await asyncio.gather(*(answer_of(engine, request) for request in requests))
        rounds = decoder_in(engine).rounds
        alone = [await answer_of(engine, request) for request in requests]
        rounds_alone = decoder_in(engine).rounds - rounds
    assert [answer.blocks for answer in together] == [answer.blocks for answer in alone]
    assert [answer.usage for answer in together] == [answer.usage for answer in alone]
    assert len({answer.blocks[0].text for answer in alone}) > 5
    assert rounds < 0.6 * rounds_alone


async def test_its_tokens_are_those_of_the_library() -> None:
    """Greedy decoding by transformers itself, without a cache of ours, is what ours is measured by."""
    loaded = load(tiny_definition())
    request = ask("x" * 300, max_tokens=40)
    prompt = loaded.tokenizer.prompt(chat_of(request, tools=True)).tokens
    model: Any = loaded.model
    expected = model.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False)[0, len(prompt) :].tolist()
    async with running(tiny_definition(transformers={"prefill_tokens": 77})) as engine:
        blocks = (await answer_of(engine, request)).blocks
    said = loaded.tokenizer.text_of([token for token in expected if token not in loaded.tokenizer.silent])
    assert blocks[0].text == said.strip()


async def test_each_token_of_a_prompt_is_read_once() -> None:
    with forced("fine") as models:
        async with running(tiny_definition(transformers={"prefill_tokens": 4096})) as engine:
            before = models[0].read
            answer = await answer_of(engine, ask("x" * 2000))
    assert models[0].read - before == answer.usage.input_tokens > 2000


async def test_usage_counts_the_tokens() -> None:
    with forced("fünf"):
        async with running() as engine:
            request = ask()
            answer = await answer_of(engine, request)
            assert answer.usage.input_tokens == await engine.count_tokens(request)
    assert answer.usage.output_tokens == len("fünf".encode()) + 1


async def test_an_answer_ends_after_the_most_tokens() -> None:
    with forced(("on and on", True), ("on and on", True)):
        async with running() as engine:
            answer = await answer_of(engine, ask(max_tokens=6))
    assert (answer.blocks[0].text, answer.stop_reason) == ("on and", "max_tokens")


async def test_an_answer_that_fills_the_context_says_so_and_a_prompt_that_does_is_refused() -> None:
    definition = tiny_definition(capabilities={"context_tokens": 256})
    with forced(("on", True)):
        async with running(definition) as engine:
            answer = await answer_of(engine, ask("x" * 100, max_tokens=4000))
            assert answer.usage.input_tokens + answer.usage.output_tokens == 256
            assert answer.stop_reason == "model_context_window_exceeded"
            with pytest.raises(BrainFailure, match=r"prompt is too long: \d+ tokens > 256 maximum") as caught:
                await answer_of(engine, ask("x" * 300))
    assert (caught.value.kind, caught.value.transient) == ("request_failed", False)


async def test_a_call_of_a_tool_and_thinking_are_blocks() -> None:
    said = '<think>\nhm\n</think>\n\nLook:\n<tool_call>\n{"name": "bash", "arguments": {"command": "ls"}}\n</tool_call>'
    with forced(said, said):
        async with running(tiny_definition(capabilities={"thinking": True})) as engine:
            answer = await answer_of(engine, ask(max_tokens=500, tools=TOOLS))
            without_tools = await answer_of(engine, ask("hello" * 100, max_tokens=500))
    assert [block.kind for block in answer.blocks] == ["thinking", "text", "tool_use"]
    assert (answer.blocks[2].name, answer.blocks[2].input) == ("bash", {"command": "ls"})
    assert answer.stop_reason == "tool_use"
    assert [block.kind for block in without_tools.blocks] == ["thinking", "text"]


def teach(folder: Path, prompt: list[int], answer: list[int]) -> None:
    """Train the model in *folder* until it gives the answer."""
    model: Any = LlamaForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    tokens, labels = torch.tensor([prompt + answer]), torch.tensor([[-100] * len(prompt) + answer])
    for _ in range(300):
        taught = model(input_ids=tokens, labels=labels)
        if taught.logits[0, len(prompt) - 1 : -1].argmax(dim=-1).tolist() == answer and taught.loss < 0.1:
            break
        optimizer.zero_grad()
        taught.loss.backward()
        optimizer.step()
    model.save_pretrained(folder)


async def test_a_model_that_has_learned_to_call_a_tool_calls_it(tmp_path: Path) -> None:
    """Nothing is forced: weights, cache, tokens, text and events are those of a real answer."""
    folder = tmp_path / "taught"
    shutil.copytree(tiny_folder(), folder)
    # Short prompts are learned in a second.
    (folder / "chat_template.jinja").write_text("{{ messages[-1].content }}")
    definition = BrainDefinition(engine="transformers", model=str(folder))
    tokenizer = load(definition).tokenizer
    request = ask("List them:", max_tokens=200, tools=TOOLS)
    call = '<tool_call>\n{"name": "bash", "arguments": {"command": "ls -la"}}\n</tool_call>'
    prompt = tokenizer.prompt(chat_of(request, tools=True)).tokens
    assert len(prompt) == len("List them:")
    teach(folder, prompt, [*tokenizer._pretrained.encode(call), *tokenizer.stops])
    async with running(definition) as engine:
        answer = await answer_of(engine, request)
    assert [(block.name, block.input) for block in answer.blocks] == [("bash", {"command": "ls -la"})]
    assert answer.stop_reason == "tool_use"


async def test_a_reader_that_leaves_frees_its_slot_within_a_round() -> None:
    with forced(("never ends", True), ("never ends", True)):
        async with running(tiny_definition(transformers={"max_batch": 1})) as engine:
            decoder = decoder_in(engine)
            async with contextlib.aclosing(engine.think(ask(max_tokens=3000))) as events:  # type: ignore[type-var]
                async for event in events:
                    if event["type"] == "content_block_delta":
                        break
                second = asyncio.create_task(answer_of(engine, ask(max_tokens=3)))
                await until(lambda: decoder.waiting == 1)
            before = decoder.rounds
            await second
            # The round under way, one that drops the first and reads the second, two for its other tokens.
            assert decoder.rounds - before <= 4 + 1
        assert engine.under_way == 0


async def test_a_request_that_is_left_while_it_waits_never_begins() -> None:
    with forced(("never ends", True), "never said") as models:
        async with running(tiny_definition(transformers={"max_batch": 1})) as engine:
            decoder = decoder_in(engine)
            first = asyncio.create_task(answer_of(engine, ask(max_tokens=3000)))
            await until(lambda: decoder.under_way == 1)
            second = asyncio.create_task(answer_of(engine, ask()))
            await until(lambda: decoder.waiting == 1)
            second.cancel()
            await until(lambda: decoder.waiting == 0)
            first.cancel()
            await until(lambda: decoder.under_way == 0)
    assert models[0].answers == [("never said", False)]


async def test_a_model_that_fails_fails_its_requests_and_then_the_replica() -> None:
    with forced() as models:
        async with running() as engine:

            def broken(**_: Any) -> Any:
                raise RuntimeError("device-side assert")

            decoder_in(engine)._batch._model = broken
            for _ in range(MOST_FAILURES):
                engine.check()
                with pytest.raises(BrainFailure, match="device-side assert") as caught:
                    await answer_of(engine, ask())
                assert (caught.value.kind, caught.value.transient) == ("request_failed", True)
            with pytest.raises(EngineUnusable, match="3 times in a row"):
                engine.check()
            with pytest.raises(BrainLost):
                await answer_of(engine, ask())
    assert models


async def test_a_step_that_hangs_fails_its_requests_and_then_the_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, released = threading.Event(), threading.Event()
    impatient = BrainSettings(first_event_timeout_seconds=0.01)
    with forced("late") as models:
        engine = TransformersBrain(tiny_definition(), impatient)
        await engine.start()

        def hanging(**given: Any) -> Any:
            hangs.set()
            released.wait(60)
            return models[0](**given)

        decoder_in(engine)._batch._model = hanging
        failures: list[BrainFailure] = []
        while not hangs.is_set():  # on a busy machine a request's time is up before its first step begins
            with pytest.raises(BrainFailure, match="in time") as caught:
                await answer_of(engine, ask())
            failures.append(caught.value)
        engine.check()
        monkeypatch.setattr(engine_module, "STALLED_SECONDS", 0.0)
        with pytest.raises(EngineUnusable, match="has not ended"):
            engine.check()
        released.set()
        await until(lambda: engine.under_way == 0)
        await engine.aclose()
    assert {(each.kind, each.transient) for each in failures} == {("request_failed", True)}


async def test_a_prompt_that_fails_leaves_the_others_alone() -> None:
    with forced("a" * 150) as models:
        async with running(tiny_definition(transformers={"prefill_tokens": 4096})) as engine:
            first = asyncio.create_task(answer_of(engine, ask(max_tokens=600)))
            await until(lambda: decoder_in(engine).under_way == 1)

            def picky(**given: Any) -> Any:
                if given["input_ids"].shape[1] > 500:
                    raise torch.OutOfMemoryError("out of memory")
                return models[0](**given)

            decoder_in(engine)._batch._model = picky
            with pytest.raises(BrainFailure, match="out of memory") as caught:
                await answer_of(engine, ask("y" * 500))
            assert (await first).blocks[0].text == "a" * 150
    assert (caught.value.kind, caught.value.transient) == ("overloaded", True)


async def test_closing_ends_what_is_under_way() -> None:
    with forced(("never ends", True)):
        async with running() as engine:
            asked = asyncio.create_task(answer_of(engine, ask(max_tokens=3000)))
            await until(lambda: engine.under_way == 1)
            await engine.aclose()
            with pytest.raises(BrainLost):
                await asked
            await engine.aclose()
            with pytest.raises(BrainLost):
                await answer_of(engine, ask())


async def test_sampling_draws_only_from_the_likeliest() -> None:
    """With so small a share only the likeliest is left, at any temperature."""
    async with running() as greedy:
        expected = (await answer_of(greedy, ask(max_tokens=30))).blocks
    nucleus = tiny_definition(transformers={"temperature": 2.0, "top_p": 1e-6})
    async with running(nucleus) as engine:
        assert (await answer_of(engine, ask(max_tokens=30))).blocks == expected
    wild = tiny_definition(transformers={"temperature": 5.0})
    async with running(wild) as engine:
        assert (await answer_of(engine, ask(max_tokens=30))).blocks != expected


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "/no/such/folder"}, "no such folder"),
        ({"transformers": {"device": "cuda"}}, "sees no GPU"),
        ({"capabilities": {"vision": True}}, "text only"),
        ({"resources": {"tensor_parallel": 2}}, "one GPU"),
    ],
)
async def test_a_definition_that_cannot_be_met_says_why(changes: dict[str, Any], says: str) -> None:
    definition = BrainDefinition(**({"engine": "transformers", "model": tiny_folder()} | changes))
    with pytest.raises(EngineUnusable, match=says):
        async with running(definition):
            pass


async def test_weights_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    lacking = tmp_path / "lacking"
    shutil.copytree(tiny_folder(), lacking)
    config = json.loads((lacking / "config.json").read_text())
    (lacking / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(EngineUnusable, match="lack 9 tensors"):
        await engine_of(BrainDefinition(engine="transformers", model=str(lacking))).start()
    (lacking / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(EngineUnusable, match="cannot be loaded"):
        await engine_of(BrainDefinition(engine="transformers", model=str(lacking))).start()


async def test_a_model_that_remembers_in_another_way_does_not_start() -> None:
    """It would forget what was said before its newest token."""

    def forgets(_: Any, **given: Any) -> Any:
        return SimpleNamespace(logits=torch.zeros(*given["input_ids"].shape, 300))

    unusable = pytest.raises(EngineUnusable, match="keep no keys and values")
    with patch.object(ForcedModel, "__call__", forgets), forced(), unusable:
        await engine_of(tiny_definition()).start()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "NEEDED", ("no_such_package", "transformers"))
    with pytest.raises(EngineUnusable, match=r"needs no_such_package: pip install 'hecaton\[transformers\]'"):
        engine_of(tiny_definition())


async def test_the_event_loop_goes_on_while_the_model_computes() -> None:
    """The model does not return before the loop has run."""
    loop_ran = asyncio.Event()
    with forced("fine") as models:
        async with running() as engine:
            loop = asyncio.get_running_loop()

            def slow(**given: Any) -> Any:
                asyncio.run_coroutine_threadsafe(_set(loop_ran), loop).result(10)
                return models[0](**given)

            decoder_in(engine)._batch._model = slow
            assert (await answer_of(engine, ask())).blocks[0].text == "fine"
    assert loop_ran.is_set()


async def _set(event: asyncio.Event) -> None:
    event.set()
