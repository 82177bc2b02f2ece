"""What a turn should leave of a brain's places, and what a stretch of time did: no clocks and no connections here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Turn:
    """A model request of *think* seconds, and *rounds* times a tool of *hands* seconds and one more request."""

    think: float
    hands: float
    rounds: int

    @property
    def requests(self) -> int:
        return self.rounds + 1

    @property
    def seconds(self) -> float:
        """How long it takes when nothing waits."""
        return self.requests * self.think + self.rounds * self.hands

    @property
    def thinking_share(self) -> float:
        """The part of itself in which it thinks: what is used of a place that it holds from beginning to end."""
        return self.requests * self.think / self.seconds

    def directive(self) -> str:
        """Say so to the stub (``tests.stub_model.rules``)."""
        return f'stub: rounds={self.rounds} command="sleep {self.hands:g}" delay={self.think:g} text=ok'

    def sessions(self, places: int, saturation: float) -> int:
        """How many must be at work to keep *places* in use if a tool followed every request, times *saturation*."""
        return math.ceil(places * (1 + (self.hands / self.think if self.rounds else 0)) * saturation)


@dataclass(frozen=True, slots=True)
class Window:
    """A steady stretch of time with one kind of turn on one topology."""

    readings: Sequence[Mapping[str, float]]
    """What the stub told of itself (``tests.stub_model.occupancy``), at the beginning, between slices, at the end."""
    hands: Sequence[float]
    """Seconds from each tool-calling answer to the next model request."""
    cpu: float
    """Seconds that the platform spent, sandboxes included."""
    others_cpu: float
    """Seconds that everything else on the machine spent, but for the stub and the clients."""

    @property
    def seconds(self) -> float:
        return self.readings[-1]["at"] - self.readings[0]["at"]

    @property
    def requests(self) -> float:
        """Model requests that ended in it."""
        return self.readings[-1]["ended"] - self.readings[0]["ended"]

    def busy(self, places: int) -> list[float]:
        """The part of *places* in use, of each slice."""
        return [
            (until["busy_seconds"] - since["busy_seconds"]) / (until["at"] - since["at"]) / places
            for since, until in pairwise(self.readings)
        ]


def dollars(gpu_hour: float, turns_per_second: float) -> float:
    """What a thousand turns cost when the GPU behind all places costs *gpu_hour* an hour, used or not."""
    return 1000 * gpu_hour / 3600 / turns_per_second


def hands_seconds(events: Iterable[Mapping[str, Any]]) -> Iterator[float]:
    """Seconds from each model request of a session that was followed by another in its turn, to that one."""
    answered: datetime | None = None
    for event in events:
        match event["type"]:
            case "span.model_request_end":
                answered = datetime.fromisoformat(event["processed_at"])
            case "span.model_request_start" if answered is not None:
                yield (datetime.fromisoformat(event["processed_at"]) - answered).total_seconds()
                answered = None
            case "session.status_idle":
                answered = None
            case _:
                pass
