"""What is counted while the model runs: levels over time, counters, and two small numbers of each request."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

SERVED, FAILED = 1, 2


class Level:
    """A quantity that goes up and down, and its integral over time."""

    __slots__ = ("_area", "_marks", "_since", "highest", "value")

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.highest = value
        self._since = 0.0
        self._area = 0.0
        self._marks: list[float] = []

    def change(self, by: int, now: float) -> None:
        """Be so much more, or less, from *now* on."""
        self._area += self.value * (now - self._since)
        self._since = now
        self.value += by
        if self.value > self.highest:
            self.highest = self.value

    def mark(self, now: float) -> None:
        """Begin the stretch of time that counts; the second time, end it."""
        self.change(0, now)
        self._marks.append(self._area)

    @property
    def area(self) -> float:
        """The integral over the stretch between the two marks."""
        begun, ended = self._marks
        return ended - begun


@dataclass(slots=True)
class Counts:
    """How often what happened."""

    served: int = 0
    failed: int = 0
    inferences: int = 0
    """Answers that were given."""
    tool_calls: int = 0
    """Calls that came to their end."""
    retries: int = 0
    faults: int = 0
    """Replicas that were lost."""
    tokens_out: float = 0.0
    brain_wait: float = 0.0
    """Seconds from each model request, or in a monolith each turn, until it had its place."""
    brain_waits: int = 0
    hand_wait: float = 0.0
    """Seconds from each tool call until it had its place."""
    hand_waits: int = 0

    def since(self, before: Counts) -> Counts:
        """Return what has come since *before*."""
        names = (field.name for field in fields(self))
        return Counts(**{name: getattr(self, name) - getattr(before, name) for name in names})


class Tally:
    """The figures of one run, and ten bytes for each request: its latency, when its first text came, its outcome."""

    def __init__(self, requests: int) -> None:
        self.counts = Counts()
        self.turns = Level()
        """Turns between their arrival and their end."""
        self.thinking = Level()
        """Places of GPUs in which a prompt is read or an answer written."""
        self.held = Level()
        """Places of GPUs that are held, thought in or not."""
        self.busy_gpus = Level()
        self.levels = [self.turns, self.thinking, self.held, self.busy_gpus]
        self._marks: list[Counts] = []
        blank = array("f", [float("nan")])
        self.latency = blank * requests
        self.first = blank * requests
        self.outcome = bytearray(requests)
        self.retried = bytearray(requests)

    def try_again(self, number: int) -> None:
        """Count that something of request *number* is tried again."""
        self.counts.retries += 1
        self.retried[number] = 1

    def mark(self, now: float) -> None:
        """Begin the stretch of time that counts; the second time, end it."""
        for level in self.levels:
            level.mark(now)
        self._marks.append(replace(self.counts))

    @property
    def window(self) -> Counts:
        """What was counted between the two marks."""
        begun, ended = self._marks
        return ended.since(begun)

    def seconds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return latencies and times to the first text, NaN where there was none."""
        return np.frombuffer(self.latency, dtype=np.float32), np.frombuffer(self.first, dtype=np.float32)
