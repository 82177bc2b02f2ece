"""Whether a brain is worth asking: a circuit breaker for each brain, in the process that asks.

A brain that keeps failing is passed over for a pause, as long as somebody else can answer. Then one request tries it
(the circuit is *half-open*): when its answer begins the circuit closes, when it fails the pause doubles.

What counts is what costs an asker time. A request that is refused is the request's own fault, and a replica that is
lost is seen as such; neither counts. That a brain is busy counts only when it took long to say so: said at once it
costs nothing, and may be over the next moment.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents.brains.port import BrainFailure, BrainLost

logger = logging.getLogger(__name__)

_BUSY = frozenset({"overloaded", "rate_limited"})


@dataclass(frozen=True, slots=True)
class CircuitBounds:
    """When a circuit opens, and for how long. Seconds."""

    in_a_row: int = 5
    """Failures in a row: fewer than the attempts of one request, so that its last ones go to another brain."""
    remembered: int = 20
    """Requests of which half, or more, must have failed when successes lie between."""
    at_once: float = 1.0
    """Within this a busy brain has said so at once."""
    pause: float = 10.0
    longest_pause: float = 60.0


class Circuits:
    """The circuit breakers of all brains, as one asker knows them."""

    def __init__(self, now: Callable[[], float], bounds: CircuitBounds | None = None) -> None:
        """*now* tells monotonic seconds."""
        self._now = now
        self._bounds = bounds or CircuitBounds()
        self._circuits: dict[str, _Circuit] = {}

    def figures(self, brain: str) -> dict[str, int]:
        """Return how the circuit of the brain with id *brain* stands, and how often it has opened."""
        circuit = self._circuits.get(brain)
        is_open = circuit is not None and circuit.until is not None
        return {"circuit_open": int(is_open), "circuit_openings": 0 if circuit is None else circuit.openings}

    def why_not(self, brain: str) -> str | None:
        """Return why the brain with id *brain* should not be asked now, or None."""
        circuit = self._circuits.get(brain)
        return None if circuit is None else circuit.why_not(self._now())

    @contextmanager
    def attempt(self, brain: str) -> Generator[Attempt]:
        """Watch one request to the brain with id *brain*; one that is given up says nothing of the brain."""
        circuit = self._circuits.setdefault(brain, _Circuit(brain, self._bounds))
        attempt = Attempt(circuit, self._now)
        try:
            yield attempt
        finally:
            circuit.end(attempt)


class Attempt:
    """One request, as the circuit sees it."""

    def __init__(self, circuit: _Circuit, now: Callable[[], float]) -> None:
        self._circuit = circuit
        self._now = now
        self._began = now()
        self.since_broken = circuit.begin(self, self._began)
        """Whether the circuit was open when it began: then it tells how the brain is now."""

    def answers(self) -> None:
        """Take note that content of the answer has come."""
        if self.since_broken:
            self._circuit.close()

    def succeeded(self) -> None:
        """Take note that the answer is complete."""
        self.answers()
        self._circuit.count(failed=False, now=self._now())

    def failed(self, failure: BrainFailure) -> None:
        """Take note of how it failed."""
        now = self._now()
        if failure.refusal is not None or isinstance(failure, BrainLost):
            return
        if failure.kind in _BUSY and now - self._began < self._circuit.bounds.at_once:
            return
        self._circuit.fail(self, now)


@dataclass(slots=True)
class _Circuit:
    brain: str
    bounds: CircuitBounds
    outcomes: deque[bool] = field(init=False)
    """Of each of the last requests, whether it failed."""
    in_a_row: int = 0
    until: float | None = None
    """When the pause ends, or ended; None while the circuit is closed."""
    pause: float = 0.0
    openings: int = 0
    """How often it has opened after it was closed."""
    trial: Attempt | None = None

    def __post_init__(self) -> None:
        self.outcomes = deque(maxlen=self.bounds.remembered)

    def why_not(self, now: float) -> str | None:
        if self.until is None:
            return None
        if now < self.until:
            return f"it keeps failing, and is tried again in {self.until - now:.0f} s"
        return None if self.trial is None else "it keeps failing, and is being tried again"

    def begin(self, attempt: Attempt, now: float) -> bool:
        if self.until is not None and now >= self.until and self.trial is None:
            self.trial = attempt
        return self.until is not None

    def end(self, attempt: Attempt) -> None:
        if self.trial is attempt:
            self.trial = None

    def fail(self, attempt: Attempt, now: float) -> None:
        if self.until is None:
            self.count(failed=True, now=now)
        elif self.trial is attempt:
            self._break(now, min(self.bounds.longest_pause, 2 * self.pause))

    def count(self, *, failed: bool, now: float) -> None:
        if self.until is not None:
            return  # begun before the circuit opened: it tells nothing new
        self.outcomes.append(failed)
        self.in_a_row = self.in_a_row + 1 if failed else 0
        many = len(self.outcomes) == self.bounds.remembered and 2 * sum(self.outcomes) >= self.bounds.remembered
        if failed and (many or self.in_a_row >= self.bounds.in_a_row):
            self._break(now, self.bounds.pause)

    def _break(self, now: float, pause: float) -> None:
        self.openings += self.until is None
        self.until, self.pause = now + pause, pause
        failed = f"{sum(self.outcomes)} of its last {len(self.outcomes)} requests failed"
        logger.warning("%s keeps failing (%s): for %g s others are asked instead", self.brain, failed, pause)

    def close(self) -> None:
        if self.until is not None:
            logger.warning("%s answers again", self.brain)
        self.until = None
        self.in_a_row = 0
        self.outcomes.clear()
