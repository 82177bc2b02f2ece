"""A GPU that is not there: what it reads and writes at any moment, by its service times alone.

A plain state machine: whoever asks says what time it is, and everything that has happened until then is worked out,
prompt by prompt and step by step. So it makes no difference when, or how often, it is asked. How the GPU shares its
time is told in ``agents.brains.service_time``. Invariants: it is busy for no longer than time passes, and works
whenever there is something to do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from agents.brains.prefix_cache import PrefixCache, PromptPart
from agents.brains.service_time import ServiceTime

LIVE_SECONDS = 0.02
"""Who watches an answer is told of new tokens no more often: a screen shows no more, and it spares the CPU."""


@dataclass(slots=True, eq=False)
class Work:
    """One request: a prompt to read, and tokens to write."""

    prompt: Sequence[PromptPart]
    tokens: int
    """To write; 1 or more."""
    told: Callable[[], None] = lambda: None
    """Called at the first token, at the end and, if the work is live, while more are written."""
    live: bool = False
    cached: int = 0
    """Tokens of the prompt that were not read again; known once it has begun to be read."""
    written: int = 0

    @property
    def done(self) -> bool:
        return self.written >= self.tokens

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, read or kept."""
        return sum(part.tokens for part in self.prompt)


@dataclass(slots=True)
class GpuFigures:
    """What one GPU has done since it began, and what it has to do."""

    gpu_busy_seconds: float = 0.0
    """In which it read or wrote."""
    gpu_prefill_seconds: float = 0.0
    """Of these, reading."""
    gpu_answer_seconds: float = 0.0
    """Each answer's seconds in decoding steps, of all together: over the busy seconds without prefill, how many answers
    were written together on average."""
    gpu_tokens_read: int = 0
    """Tokens of prompts, those that were kept not counted."""
    gpu_tokens_cached: int = 0
    """Tokens of prompts that had not to be read again."""
    gpu_tokens_written: int = 0
    gpu_requests_done: int = 0
    gpu_requests_cancelled: int = 0
    gpu_batch: int = 0
    """Requests in the batch now, one whose prompt is read among them."""
    gpu_requests_waiting: int = 0
    """Requests that wait for a place in the batch now."""


class VirtualGpu:
    """Reads and writes for those who ask, in the order in which they come."""

    def __init__(self, times: ServiceTime) -> None:
        self._times = times
        self._prefixes = PrefixCache(times.prefix_cache_tokens)
        self._waiting: deque[Work] = deque()
        self._reading: Work | None = None
        self._writing: list[Work] = []
        self._began = self._end = 0.0
        """Of what is under way: a prompt that is read, or else a step, if anything is written."""
        self._counted = 0.0
        """Up to when seconds are counted."""
        self._figures = GpuFigures()

    # -- what happens ----------------------------------------------------------------------------

    def join(self, work: Work, now: float) -> None:
        """Take in a request that comes *now*."""
        self.advance(now)
        self._waiting.append(work)
        self._reconsider(now)

    def leave(self, work: Work, now: float) -> None:
        """Drop a request whose asker left *now*; does nothing when it is done. The others' step goes on to its end."""
        self.advance(now)
        if work in self._waiting:
            self._waiting.remove(work)
        elif work is self._reading:
            self._figures.gpu_tokens_read += int((now - self._began) * self._times.prefill_tokens_per_second)
            self._reading = None
            self._next(now)
        elif work in self._writing:
            self._writing.remove(work)
            self._reconsider(now)
        else:
            return
        self._figures.gpu_requests_cancelled += 1

    def advance(self, now: float) -> None:
        """Work out all that has happened until *now*."""
        news: dict[Work, None] = {}
        while self._batch and self._end <= now:
            news |= dict.fromkeys(self._finish())
        self._count(now)
        for work in news:
            work.told()

    def due(self) -> float | None:
        """Return when somebody is to be told something, or the batch changes, next; None while there is no work."""
        if not self._batch:
            return None
        if self._reading or (self._waiting and self._has_room) or not all(work.written for work in self._writing):
            return self._end
        seconds = self._step_seconds
        steps = min(work.tokens - work.written for work in self._writing)
        if seconds and any(work.live for work in self._writing):
            steps = min(steps, math.ceil(LIVE_SECONDS / seconds))
        return self._end + (steps - 1) * seconds

    def figures(self, now: float) -> dict[str, float]:
        """Return what was done until *now*, by the names of ``GpuFigures``."""
        self.advance(now)
        self._figures.gpu_batch, self._figures.gpu_requests_waiting = self._batch, len(self._waiting)
        return asdict(self._figures)

    @property
    def under_way(self) -> int:
        """Requests that are not done."""
        return self._batch + len(self._waiting)

    # -- one thing after the other ---------------------------------------------------------------

    @property
    def _batch(self) -> int:
        """How many requests are in the batch; none: nothing is under way."""
        return len(self._writing) + (self._reading is not None)

    @property
    def _has_room(self) -> bool:
        return self._batch < self._times.max_batch

    @property
    def _step_seconds(self) -> float:
        return self._times.seconds_per_step(len(self._writing))

    def _reconsider(self, now: float) -> None:
        """Begin anew unless something was begun before *now*: between two steps all may change."""
        if self._reading is None and (not self._writing or self._began == now):
            self._next(now)

    def _next(self, now: float) -> None:
        """Begin the next thing, if there is one: a prompt while there is room, else a step."""
        self._began = now
        if self._waiting and self._has_room:
            work = self._reading = self._waiting.popleft()
            # Something must be read for there to be a first token.
            work.cached = min(self._prefixes.held(work.prompt), work.prompt_tokens - 1)
            self._end = now + self._times.prefill_seconds(work.prompt_tokens - work.cached)
        elif self._writing:
            self._end = now + self._step_seconds

    def _finish(self) -> Sequence[Work]:
        """End what is under way, and go on; returns those that are to be told of it."""
        end = self._end
        self._count(end)
        news = self._written() if self._reading is None else self._read(self._reading)
        self._next(end)
        return news

    def _read(self, work: Work) -> Sequence[Work]:
        self._reading = None
        self._writing.append(work)
        self._prefixes.keep(work.prompt)
        self._figures.gpu_tokens_read += work.prompt_tokens - work.cached
        self._figures.gpu_tokens_cached += work.cached
        return ()

    def _written(self) -> Sequence[Work]:
        step, self._writing = self._writing, []
        for work in step:
            work.written += 1
            if not work.done:
                self._writing.append(work)
        self._figures.gpu_tokens_written += len(step)
        self._figures.gpu_requests_done += len(step) - len(self._writing)
        return [work for work in step if work.live or work.done or work.written == 1]

    def _count(self, now: float) -> None:
        """Count the seconds up to *now*."""
        seconds, self._counted = now - self._counted, now
        if not self._batch:
            return
        self._figures.gpu_busy_seconds += seconds
        if self._reading is not None:
            self._figures.gpu_prefill_seconds += seconds
        else:
            self._figures.gpu_answer_seconds += seconds * len(self._writing)
