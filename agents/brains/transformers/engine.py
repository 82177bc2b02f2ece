"""The brain that is a Hugging Face model in this process; for small models, CPUs and tests.

Rendering and tokenizing have a thread, decoding has another; the event loop only turns tokens into events.
Invariant: closing the iterator takes the request out of the batch before the next decoding step.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.brain_settings import BrainDefinition
from agents.brains.port import BrainFailure, BrainLost, BrainRequest, EngineUnusable
from agents.brains.transformers.answer import AnswerWriter
from agents.brains.transformers.chat import chat_of, refused
from agents.brains.transformers.detokenizer import Detokenizer
from agents.brains.transformers.generation import Finished, Generation
from agents.brains.transformers.parser import AnswerParser
from agents.brains.transformers.tokenizer import ChatTokenizer, Prompted
from agents.config import BrainSettings

if TYPE_CHECKING:
    from agents.brains.transformers.decoder import Decoder

NEEDED = ("torch", "transformers")
STALLED_SECONDS = 300.0
"""A round that takes longer will not end: a piece of a prompt and a step take seconds even on a slow CPU."""
STOP_SECONDS = 5.0
"""Longer than a round."""
WARM_UP = 3
"""Requests, so that one joins others and leaves them."""


@dataclass(frozen=True, slots=True)
class _Running:
    decoder: Decoder
    tokenizer: ChatTokenizer
    context_tokens: int


class TransformersBrain:
    """Thinks with the model that *definition* names, ``transformers.max_batch`` requests at a time."""

    def __init__(self, definition: BrainDefinition, limits: BrainSettings) -> None:
        """Raises EngineUnusable when it is not installed, or the definition wants what it cannot do."""
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise EngineUnusable(
                f"the transformers engine needs {' and '.join(missing)}: pip install 'hecaton[transformers]'"
            )
        if definition.capabilities.vision:
            raise EngineUnusable("the transformers engine reads text only: set capabilities.vision to false")
        if definition.resources.tensor_parallel > 1:
            raise EngineUnusable("the transformers engine computes on one GPU: use the server engine for more")
        self._definition = definition
        self._limits = limits
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")
        self._running: _Running | None = None

    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        """Stream the answer; raises BrainFailure."""
        return self._think(request)

    async def count_tokens(self, request: BrainRequest) -> int:
        """Return how many tokens the prompt has, the template's own among them. Raises BrainFailure."""
        prompt = await self._prompt(self._loaded(), request)
        return len(prompt.tokens)

    async def start(self) -> None:
        """Load the model and let it say a few tokens. Raises EngineUnusable."""
        settings = self._definition.transformers
        try:
            async with asyncio.timeout(settings.start_seconds):
                self._running = await asyncio.to_thread(self._load, asyncio.get_running_loop())
                await self._warm_up(self._running)
        except TimeoutError as error:
            await self.aclose()
            raise EngineUnusable(f"the model was not loaded within {settings.start_seconds:g} s") from error
        except BrainFailure as error:
            await self.aclose()
            raise EngineUnusable(f"the model {self._definition.model!r} does not work here: {error.message}") from error

    def check(self) -> None:
        """Raise EngineUnusable once the model fails again and again, or hangs."""
        if self._running is None:
            return
        decoder = self._running.decoder
        if decoder.broken is not None:
            raise EngineUnusable(decoder.broken)
        if decoder.stalled_seconds > STALLED_SECONDS:
            raise EngineUnusable(f"a decoding step has not ended for {decoder.stalled_seconds:.0f} s")

    async def aclose(self) -> None:
        """Unload; requests under way end with BrainLost."""
        running, self._running = self._running, None
        self._tokenizing.shutdown(wait=False, cancel_futures=True)
        if running is not None:
            await asyncio.to_thread(running.decoder.stop, STOP_SECONDS)

    @property
    def under_way(self) -> int:
        """Requests that hold a slot of the batch."""
        return self._running.decoder.under_way if self._running else 0

    def _load(self, loop: asyncio.AbstractEventLoop) -> _Running:
        # PyTorch takes seconds to import, and only the replicas of this engine need it.
        from agents.brains.transformers.decoder import decoder_of
        from agents.brains.transformers.loading import load

        loaded = load(self._definition)
        decoder = decoder_of(loaded, self._definition.transformers, loop)
        decoder.start()
        return _Running(decoder, loaded.tokenizer, loaded.context_tokens)

    async def _warm_up(self, running: _Running) -> None:
        request = BrainRequest("", str(self._definition.model), [{"role": "user", "content": "Hello."}])
        prompt = await self._prompt(running, request)
        generations = [Generation(prompt.tokens, most=1 + place) for place in range(WARM_UP)]
        for generation in generations:
            running.decoder.submit(generation)
        for generation in generations:
            while not isinstance(item := await generation.inbox.get(), Finished):
                if isinstance(item, BrainFailure):
                    raise item

    async def _think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        running = self._loaded()
        clock = asyncio.get_running_loop().time
        end = clock() + self._limits.request_timeout_seconds
        deadline = min(end, clock() + self._limits.first_event_timeout_seconds)
        prompt = await self._prompt(running, request)
        generation, cut_by = self._generation(running, prompt, request)
        writer = self._writer(running, prompt, request)
        running.decoder.submit(generation)
        try:
            tokens, over = await _next(generation, deadline)
            yield writer.start()
            while True:
                for event in writer.take(tokens):
                    yield event
                if over is not None or writer.ended:
                    break
                deadline = min(end, clock() + self._limits.event_gap_timeout_seconds)
                tokens, over = await _next(generation, deadline)
        finally:
            running.decoder.cancel(generation)
        by_model = over is None or over.by_model
        for event in writer.finish(None if by_model else cut_by):
            yield event

    def _loaded(self) -> _Running:
        if self._running is None:
            raise BrainLost("the model is not loaded")
        return self._running

    async def _prompt(self, running: _Running, request: BrainRequest) -> Prompted:
        tools = self._definition.capabilities.tools
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._tokenizing, lambda: running.tokenizer.prompt(chat_of(request, tools=tools))
        )

    def _generation(self, running: _Running, prompt: Prompted, request: BrainRequest) -> tuple[Generation, str]:
        """The tokens to ask for, and why the answer is cut off if they are too few."""
        room = running.context_tokens - len(prompt.tokens)
        if room <= 0:
            raise refused(f"prompt is too long: {len(prompt.tokens)} tokens > {running.context_tokens} maximum")
        most = min(request.max_tokens, self._definition.capabilities.max_output_tokens)
        cut_by = "max_tokens" if most <= room else "model_context_window_exceeded"
        return Generation(prompt.tokens, min(most, room)), cut_by

    def _writer(self, running: _Running, prompt: Prompted, request: BrainRequest) -> AnswerWriter:
        capabilities = self._definition.capabilities
        parser = AnswerParser(
            thinking=capabilities.thinking,
            tools=capabilities.tools and bool(request.tools),
            is_thinking=prompt.is_thinking,
            turn_ends=running.tokenizer.turn_ends_in_words,
        )
        detokenizer = Detokenizer(running.tokenizer, running.tokenizer.silent)
        return AnswerWriter(detokenizer, parser, model=request.model, input_tokens=len(prompt.tokens))


async def _next(generation: Generation, deadline: float) -> tuple[list[int], Finished | None]:
    """Wait for more of an answer and return all there is of it. Raises BrainFailure, also when none comes in time."""
    try:
        async with asyncio.timeout_at(deadline):
            items = [await generation.inbox.get()]
    except TimeoutError as error:
        raise BrainFailure("request_failed", "The model did not answer in time.", transient=True) from error
    while not generation.inbox.empty():
        items.append(generation.inbox.get_nowait())
    tokens = [item for item in items if isinstance(item, int)]
    last = items[-1]
    if isinstance(last, BrainFailure):
        raise last
    return tokens, last if isinstance(last, Finished) else None
