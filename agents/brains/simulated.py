"""The brain that takes the time of a GPU: it plays a scripted plan as the replay brain does, but as slowly as a model.

Requests share a virtual GPU (``agents.brains.virtual_gpu``) whose times are settings. So throughput, utilisation and
latency of a platform can be measured without a GPU; what is said is no model's, and the same notice says so.
Invariant: what an asker sees, it sees when its tokens have been written, and not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from agents.brains import stream
from agents.brains.assembly import TokenUsage
from agents.brains.plan import PlanBook
from agents.brains.port import BrainLost, BrainRequest, EngineUnusable
from agents.brains.replay import Played, play
from agents.brains.service_time import ServiceTime
from agents.brains.simulated_prompt import prompt_parts, simulated_output
from agents.brains.speech import spoken
from agents.brains.virtual_gpu import VirtualGpu, Work
from agents.clock import Clock, SystemClock, within


class SimulatedBrain:
    """Plays the plan whose ``when`` fits the conversation, in the time that *times* say."""

    def __init__(self, book: PlanBook, times: ServiceTime, *, clock: Clock | None = None) -> None:
        self._book = book
        self._clock = clock or SystemClock()
        self._gpu = VirtualGpu(times)
        self._driving: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._askers: set[asyncio.Event] = set()
        self._closed = False
        self._fault: BaseException | None = None

    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        """Stream the next step; raises BrainFailure when a template cannot be rendered."""
        return self._think(request)

    async def count_tokens(self, request: BrainRequest) -> int:
        """Return what the usage of the answer will say."""
        return sum(part.tokens for part in prompt_parts(request))

    async def start(self) -> None:
        """Nothing to start: the plan is read already."""

    def check(self) -> None:
        """Raise EngineUnusable once nothing advances the GPU any more."""
        if self._fault is not None:
            raise EngineUnusable(f"the simulated GPU failed: {self._fault!r}") from self._fault

    async def aclose(self) -> None:
        """End; requests under way end with BrainLost."""
        self._lose_all()
        if self._driving is not None:
            self._driving.cancel()
            await asyncio.gather(self._driving, return_exceptions=True)

    def figures(self) -> dict[str, float]:
        """See Measured.figures; the names are those of ``GpuFigures``."""
        return self._gpu.figures(self._clock.monotonic())

    @property
    def under_way(self) -> int:
        """Requests that are not answered to the end."""
        return self._gpu.under_way

    # -- one answer ------------------------------------------------------------------------------

    async def _think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        if self._closed:
            raise BrainLost("the simulated GPU is gone")
        played = play(request, self._book)
        news = asyncio.Event()
        work = Work(prompt_parts(request), _tokens(played, request), news.set, request.live)
        self._askers.add(news)
        self._gpu.join(work, self._clock.monotonic())
        self._drive()
        try:
            await self._wait(news)
            usage = TokenUsage(work.prompt_tokens - work.cached, work.tokens, work.cached)
            yield stream.message_start(played.message_id, request.model, usage)
            for event in spoken(played.blocks, lambda: work.written / work.tokens):
                if event is None:
                    await self._wait(news)
                else:
                    yield event
        finally:
            self._askers.discard(news)
            if not work.done:
                self._gpu.leave(work, self._clock.monotonic())
                self._changed.set()
        yield stream.message_delta(played.stop_reason, usage)
        yield stream.message_stop()

    async def _wait(self, news: asyncio.Event) -> None:
        """Wait for more of an answer. Raises BrainLost."""
        await news.wait()
        news.clear()
        if self._closed:
            raise BrainLost("the simulated GPU is gone")

    # -- time ------------------------------------------------------------------------------------

    def _drive(self) -> None:
        """See that somebody advances the GPU while there is work."""
        self._changed.set()
        if self._driving is None or self._driving.done():
            self._driving = asyncio.create_task(self._advance())
            self._driving.add_done_callback(self._driven)

    async def _advance(self) -> None:
        while (due := self._gpu.due()) is not None:
            self._changed.clear()
            await within(self._clock, due - self._clock.monotonic(), self._changed.wait())
            self._gpu.advance(self._clock.monotonic())

    def _driven(self, driving: asyncio.Task[None]) -> None:
        if not driving.cancelled() and (fault := driving.exception()) is not None:
            self._fault = fault
            self._lose_all()

    def _lose_all(self) -> None:
        self._closed = True
        for news in self._askers:
            news.set()


def _tokens(played: Played, request: BrainRequest) -> int:
    """How many tokens the answer takes; what it says is said even where the request allows less."""
    said, more = played.said_tokens, played.simulated_tokens
    if played.stop_reason == "end_turn":
        more += simulated_output(request)
    return max(said, min(said + more, request.max_tokens))
