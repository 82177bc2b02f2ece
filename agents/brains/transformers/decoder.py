"""Continuous batching: one thread owns the model; requests join and leave its batch between two steps.

A round drops who was cancelled, reads one piece of the oldest prompt that is not read yet, and decodes one token
for every row. So a long prompt delays the others by one piece of it at most, and a cancelled request gives its
slot back within a round. The event loop is only told what came of a round, once, in order.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from agents.brain_settings import TransformersSettings
from agents.brains.port import BrainFailure, BrainLost, FailureKind
from agents.brains.transformers.batch import Batch, Prompt
from agents.brains.transformers.generation import Finished, Generation, Item
from agents.brains.transformers.loading import Loaded
from agents.brains.transformers.sampling import Sampler

logger = logging.getLogger(__name__)

MOST_FAILURES: Final = 3
"""Rounds that may fail one after the other; then the process is what is broken (a GPU's error outlives its cause)."""
SHOWN_CHARACTERS: Final = 300


@dataclass(eq=False, slots=True)
class _Row:
    generation: Generation
    newest: int
    told: int = 0


class Decoder:
    """Decodes in a thread of its own, and tells each generation's inbox on *loop*."""

    def __init__(
        self,
        batch: Batch,
        sampler: Sampler,
        *,
        stops: Collection[int],
        max_batch: int,
        prefill_tokens: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._batch = batch
        self._sampler = sampler
        self._stops = frozenset(stops)
        self._max_batch = max_batch
        self._prefill_tokens = prefill_tokens
        self._loop = loop
        self._news = threading.Condition()
        self._waiting: deque[Generation] = deque()
        self._reading: tuple[Generation, Prompt] | None = None
        self._rows: list[_Row] = []
        self._told: list[tuple[Generation, Item]] = []
        self._is_batch_whole = True
        self._failures = 0
        self._round_began: float | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self.broken: str | None = None
        """Why it will not decode again, if so."""
        self.rounds = 0

    @property
    def stalled_seconds(self) -> float:
        """How long the round under way has taken so far."""
        began = self._round_began
        return 0.0 if began is None else time.monotonic() - began

    @property
    def under_way(self) -> int:
        """Requests that hold a slot."""
        return len(self._rows) + (self._reading is not None)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    def start(self) -> None:
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Put a request into the line. Raises BrainLost once the decoder ended."""
        with self._news:
            if self._stopping or self.broken:
                raise BrainLost(self.broken or "the model is being unloaded")
            self._waiting.append(generation)
            self._news.notify()

    def cancel(self, generation: Generation) -> None:
        """Nobody reads *generation* any more; may be called at any time."""
        with self._news:
            generation.cancelled = True
            self._news.notify()

    def stop(self, timeout: float) -> bool:
        """End; requests under way fail with BrainLost. Returns whether the thread ended within *timeout* seconds."""
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        reason = "the model is being unloaded"
        try:
            with torch.inference_mode():
                while self._wait():
                    self._round()
        except Exception:
            logger.exception("the decoder ended")
            reason = "the decoder ended by a fault of its own"
        finally:
            with self._news:
                self.broken = lost = self.broken or reason
                self._fail([*self._in_batch(), *self._in_prompt(), *self._waiting], lambda: BrainLost(lost))
                self._waiting.clear()
            self._tell()

    def _wait(self) -> bool:
        """Wait until there is something to do; False when it is to end."""
        with self._news:
            while not (self._stopping or self.broken or self._waiting or self._reading or self._rows):
                self._news.wait()
            return not (self._stopping or self.broken)

    def _round(self) -> None:
        self.rounds += 1
        self._round_began = time.monotonic()
        self._drop_cancelled()
        self._admit()
        try:
            self._read()
            self._step()
            self._failures = 0
        except Exception as error:
            # Whatever a model raises: it fails the requests concerned, and no others.
            self._on_failure(error)
        self._tell()
        self._round_began = None

    def _drop_cancelled(self) -> None:
        self._keep([row for row in self._rows if not row.generation.cancelled])
        if self._reading is not None and self._reading[0].cancelled:
            self._reading = None
        with self._news:
            self._waiting = deque(one for one in self._waiting if not one.cancelled)

    def _admit(self) -> None:
        with self._news:
            if self._reading is None and self._waiting and len(self._rows) < self._max_batch:
                generation = self._waiting.popleft()
                self._reading = (generation, Prompt(generation.prompt))

    def _read(self) -> None:
        if self._reading is None:
            return
        generation, prompt = self._reading
        scores = self._batch.read(prompt, self._prefill_tokens)
        if scores is None:
            return
        [token] = self._sampler.choose(scores)
        self._is_batch_whole = False
        self._batch.join(prompt)
        self._rows.append(_Row(generation, token))
        self._reading = None
        self._is_batch_whole = True
        self._take([token], self._rows[-1:])

    def _step(self) -> None:
        if self._rows:
            self._is_batch_whole = False
            scores = self._batch.step([row.newest for row in self._rows])
            tokens = self._sampler.choose(scores)
            self._is_batch_whole = True
            self._take(tokens, self._rows)

    def _take(self, tokens: Iterable[int], rows: Iterable[_Row]) -> None:
        """Tell the newest token of each row, and let those leave whose answer is over."""
        over: list[_Row] = []
        for row, token in zip(rows, tokens, strict=True):
            row.newest = token
            if token in self._stops:
                self._told.append((row.generation, Finished(by_model=True)))
                over.append(row)
                continue
            row.told += 1
            self._told.append((row.generation, token))
            if row.told == row.generation.most:
                self._told.append((row.generation, Finished(by_model=False)))
                over.append(row)
        self._keep([row for row in self._rows if row not in over])

    def _keep(self, rows: list[_Row]) -> None:
        if len(rows) < len(self._rows):
            self._batch.keep([place for place, row in enumerate(self._rows) if row in rows])
            self._rows = rows

    def _on_failure(self, error: Exception) -> None:
        """Fail the prompt that was read, and the batch unless it was left whole; all of them can be asked again."""
        logger.error("a decoding step failed", exc_info=error)
        what = " ".join(str(error).split())[:SHOWN_CHARACTERS]
        message = f"The model failed in the middle of an answer: {what}"
        self._failures += 1
        kind: FailureKind = "request_failed"
        if isinstance(error, torch.OutOfMemoryError):
            kind = "overloaded"
            torch.cuda.empty_cache()
        elif self._failures >= MOST_FAILURES:
            self.broken = f"the model failed {self._failures} times in a row, last with: {what}"
        failed = self._in_prompt() if self._is_batch_whole else [*self._in_batch(), *self._in_prompt()]
        self._fail(failed, lambda: BrainFailure(kind, message, transient=True))
        self._is_batch_whole = True

    def _in_batch(self) -> list[Generation]:
        return [row.generation for row in self._rows]

    def _in_prompt(self) -> list[Generation]:
        return [self._reading[0]] if self._reading else []

    def _fail(self, generations: Sequence[Generation], failure: Callable[[], BrainFailure]) -> None:
        self._told += [(generation, failure()) for generation in generations]
        self._reading = None
        self._keep([row for row in self._rows if row.generation not in generations])

    def _tell(self) -> None:
        told, self._told = self._told, []
        if told:
            try:
                self._loop.call_soon_threadsafe(_deliver, told)
            except RuntimeError:
                # The loop is closed: nobody reads any more.
                self._stopping = True


def decoder_of(loaded: Loaded, settings: TransformersSettings, loop: asyncio.AbstractEventLoop) -> Decoder:
    """Return a decoder of a model, not started yet."""
    return Decoder(
        Batch(loaded.model, loaded.device),
        Sampler(settings.temperature, settings.top_p),
        stops=loaded.tokenizer.stops,
        max_batch=settings.max_batch,
        prefill_tokens=settings.prefill_tokens,
        loop=loop,
    )


def _deliver(told: Iterable[tuple[Generation, Item]]) -> None:
    for generation, item in told:
        generation.inbox.put_nowait(item)
