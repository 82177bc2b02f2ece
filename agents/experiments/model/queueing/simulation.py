"""Playing requests on a modelled platform."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.errors import InvalidRequest
from agents.experiments.model.queueing.inputs import Faults, Requests, Stretch, System, Workload, check_workloads
from agents.experiments.model.queueing.platforms import Decoupled, Monolith
from agents.experiments.model.queueing.results import Run, run_of
from agents.experiments.model.queueing.schedule import Event, Schedule
from agents.experiments.model.queueing.tally import Tally
from agents.experiments.model.queueing.turns import Dealer, Turn


def simulate(
    requests: Requests,
    workloads: Sequence[Workload],
    system: System,
    stretch: Stretch,
    *,
    seed: int = 1,
    under_way: int | None = None,
) -> Run:
    """Play *requests* on *system*.

    With *under_way* the loop is closed: so many turns begin when they are due, each further one when one has ended,
    as long as there are requests. The same seed deals a request the same shape and lots on every platform. Raises
    InvalidRequest.
    """
    found = check_workloads(workloads, requests.names, system)
    if not requests.names:
        raise InvalidRequest("names: there must be at least one workload")
    if under_way is not None and under_way < 1:
        raise InvalidRequest(f"under_way: must be at least 1, not {under_way}")
    play = _Play(requests, Dealer(requests, [found[name] for name in requests.names], seed), system, stretch)
    return play.run(seed, under_way)


class _Play:
    """One run."""

    def __init__(self, requests: Requests, dealer: Dealer, system: System, stretch: Stretch) -> None:
        self._requests = requests
        self._dealer = dealer
        self._system = system
        self._stretch = stretch
        self._schedule = Schedule()
        self._tally = Tally(len(requests))
        self._due: NDArray[np.float64] = np.full(len(requests), np.nan)
        self._coming = 0
        """The request that begins next."""
        self._closed = False

    def run(self, seed: int, under_way: int | None) -> Run:
        stretch, schedule, tally = self._stretch, self._schedule, self._tally
        lots = np.random.default_rng((seed, 0xFA17))

        def lifetime(faults: Faults) -> float:
            return float(lots.exponential(faults.mean_seconds_between))

        # Before all other events of their moments, so that what ends at the border is on one side of it.
        schedule.after(stretch.warm_up, self._mark)
        schedule.after(stretch.seconds, self._mark)
        kind = Decoupled if self._system.topology == "decoupled" else Monolith
        platform = kind(schedule, tally, self._system, self._ended, lifetime)
        self._begin = platform.begin
        self._closed = under_way is not None
        self._last = len(self._requests) if under_way is None else min(under_way, len(self._requests))
        self._await_next()
        # A hair later: SimPy leaves out what is due at the very end.
        schedule.run(math.nextafter(stretch.horizon, math.inf))
        return run_of(tally, self._system, platform.pools, self._due, stretch, seed=seed, events=schedule.events)

    def _mark(self, _: Event) -> None:
        self._tally.mark(self._schedule.now)

    def _await_next(self) -> None:
        if self._coming < self._last and (due := float(self._requests.due[self._coming])) < self._stretch.seconds:
            self._schedule.after(due - self._schedule.now, self._arrived)

    def _arrived(self, _: Event) -> None:
        self._take(float(self._requests.due[self._coming]))
        self._await_next()

    def _ended(self) -> None:
        now = self._schedule.now
        if self._closed and self._last <= self._coming < len(self._requests) and now < self._stretch.seconds:
            self._take(now)

    def _take(self, due: float) -> None:
        number = self._coming
        self._coming += 1
        self._due[number] = due
        self._tally.turns.change(1, self._schedule.now)
        self._begin(Turn(number, due, self._dealer.deal(number)))
