"""A GPU that does one thing at a time, and the pool of a decoupled platform's.

The times are those of ``agents.brains.service_time``: a prompt is read while all answers stand still, a step gives each
answer of the batch a token. All answers have then made the same steps since the later one joined, so one running count
serves them all: an answer ends when the count is where it joined plus its length. While the batch stays as it is, its
steps need no events of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import ceil

from agents.brains.service_time import ServiceTime
from agents.experiments.model.queueing.places import Places
from agents.experiments.model.queueing.schedule import Event, Schedule
from agents.experiments.model.queueing.tally import Tally
from agents.experiments.model.queueing.turns import Turn

_EPSILON = 1e-9
"""Part of a step within which a moment is at its border: what floats lose over a day is less."""


class Gpu:
    """One replica of the brain."""

    def __init__(
        self,
        schedule: Schedule,
        service: ServiceTime,
        tally: Tally,
        *,
        done: Callable[[Gpu, Turn], None],
        first: Callable[[Turn, float], None],
    ) -> None:
        """*done* is called with each answer's end, when its place is free; *first* as soon as it is known when an
        answer's first token comes, with that moment."""
        self.load = 0
        """Places taken; its pool counts them where there is one."""
        self._schedule = schedule
        self._tally = tally
        self._done = done
        self._first = first
        self._reading_speed = service.prefill_tokens_per_second
        self._step_seconds = [service.seconds_per_step(max(answers, 1)) for answers in range(service.max_batch + 1)]
        self._places = service.max_batch
        self._turns: dict[Turn, None] = {}
        self._waiting: deque[Turn] = deque()
        self._unread: deque[Turn] = deque()
        """In the batch, their prompts not begun."""
        self._numbers = count()
        self._event = 0
        """Number of the event that counts: the next end of a prompt, or of steps."""
        self._clear()

    def _clear(self) -> None:
        self._turns.clear()
        self._waiting.clear()
        self._unread.clear()
        self._idle = True
        self._answers: list[tuple[int, int, Turn]] = []
        self._silent: list[Turn] = []
        """Have been read and have no token yet."""
        self._steps = 0
        """Made so far."""
        self._began = 0.0
        self._planned = 0
        """Steps from then on until the batch may change; 0 while none are made."""
        self._event += 1

    def ask(self, turn: Turn) -> None:
        """Think about *turn*, after those that wait, when there is no place."""
        if len(self._turns) < self._places:
            self.start(turn)
        else:
            self._waiting.append(turn)

    def start(self, turn: Turn) -> None:
        """Think about *turn* from the next border of two steps on; there must be a place."""
        now = self._schedule.now
        if not self._turns:
            self._tally.busy_gpus.change(1, now)
        self._tally.thinking.change(1, now)
        self._turns[turn] = None
        self._unread.append(turn)
        if self._planned:
            self._stop_at_border(now)
        elif self._idle:
            self._next(now)

    def lose(self) -> list[Turn]:
        """Lose all that is under way and return it; those that only waited are among it."""
        now, lost = self._schedule.now, [*self._turns, *self._waiting]
        if self._turns:
            self._tally.busy_gpus.change(-1, now)
        self._tally.thinking.change(-len(self._turns), now)
        self._clear()
        return lost

    def _next(self, now: float) -> None:
        """Begin the next thing: a prompt if there is one, else steps until an answer ends."""
        self._event += 1
        self._idle = False
        if self._unread:
            turn = self._unread.popleft()
            self._schedule.after(turn.part.tokens_in / self._reading_speed, self._read, (self._event, turn))
        elif self._answers:
            seconds = self._step_seconds[len(self._answers)]
            for turn in self._silent:
                self._first(turn, now + seconds)
            self._silent.clear()
            self._began, self._planned = now, self._answers[0][0] - self._steps
            self._schedule.after(self._planned * seconds, self._stepped, self._event)
        else:
            self._idle = True

    def _stop_at_border(self, now: float) -> None:
        seconds = self._step_seconds[len(self._answers)]
        if not seconds:
            return
        steps = max(0, ceil((now - self._began) / seconds - _EPSILON))
        if steps < self._planned:
            self._planned = steps
            self._event += 1
            self._schedule.after(max(0.0, self._began + steps * seconds - now), self._stepped, self._event)

    def _read(self, event: Event) -> None:
        number, turn = event.value
        if number != self._event:
            return
        heappush(self._answers, (self._steps + max(1, ceil(turn.part.tokens_out)), next(self._numbers), turn))
        self._silent.append(turn)
        self._next(self._schedule.now)

    def _stepped(self, event: Event) -> None:
        if event.value != self._event:
            return
        now, answers, ended = self._schedule.now, self._answers, list[Turn]()
        self._steps += self._planned
        while answers and answers[0][0] <= self._steps:
            ended.append(heappop(answers)[2])
        # Whoever gets a free place now is read before the next step.
        self._planned = 0
        for turn in ended:
            self._end(turn, now)
        self._next(now)

    def _end(self, turn: Turn, now: float) -> None:
        tally = self._tally
        del self._turns[turn]
        tally.thinking.change(-1, now)
        tally.counts.inferences += 1
        tally.counts.tokens_out += turn.part.tokens_out
        if not self._turns:
            tally.busy_gpus.change(-1, now)
        if self._waiting:
            self.start(self._waiting.popleft())
        self._done(self, turn)


class GpuPool:
    """All GPUs of a decoupled platform, and the one line before them."""

    def __init__(self, schedule: Schedule, tally: Tally, places: int) -> None:
        """*places*: of each GPU."""
        self._schedule = schedule
        self._tally = tally
        self._places: Places[Gpu] = Places(places)
        self._waiting: deque[Turn] = deque()

    def add(self, gpu: Gpu) -> None:
        """Have *gpu*, from its start or after a fault, and give it what waits."""
        self._places.add(gpu)
        while self._waiting and (free := self._places.take()) is not None:
            self._start(free, self._waiting.popleft())

    def lose(self, gpu: Gpu) -> list[Turn]:
        """Do without *gpu* until it is added again; returns the turns whose requests were on it."""
        self._places.remove(gpu)
        gpu.load = 0
        lost = gpu.lose()
        self._tally.held.change(-len(lost), self._schedule.now)
        return lost

    def ask(self, turn: Turn) -> None:
        """Think about *turn*, when it is its turn."""
        turn.asked = self._schedule.now
        gpu = self._places.take()
        if gpu is None:
            self._waiting.append(turn)
        else:
            self._start(gpu, turn)

    def free(self, gpu: Gpu) -> None:
        """Take note that a request on *gpu* has ended."""
        if self._waiting:
            self._start(gpu, self._waiting.popleft(), held=True)
        else:
            self._places.give_back(gpu)
            self._tally.held.change(-1, self._schedule.now)

    def _start(self, gpu: Gpu, turn: Turn, *, held: bool = False) -> None:
        now, tally = self._schedule.now, self._tally
        tally.counts.brain_wait += now - turn.asked
        tally.counts.brain_waits += 1
        if not held:
            tally.held.change(1, now)
        gpu.start(turn)
