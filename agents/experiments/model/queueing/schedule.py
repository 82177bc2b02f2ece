"""Simulated time: SimPy's queue of events, each with the function that it calls.

SimPy's processes (generators) would be the usual way; resuming one costs as much again as the event, and a request has
a dozen of them. Functions need no more than the event itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.extras import extra


class Event:
    """What an action gets. SimPy's own (Timeout) does the same and takes twice as long to make."""

    __slots__ = ("_ok", "callbacks", "value")

    def __init__(self, action: Callable[[Event], None], value: Any) -> None:
        self.callbacks = [action]
        self.value = value
        """What ``after`` was given."""
        self._ok = True  # SimPy asks for it.


class Schedule:
    """The model's clock and what is still to happen."""

    def __init__(self) -> None:
        """Raises InvalidRequest when SimPy is not installed."""
        self._environment = extra("simpy", "the model of queues needs SimPy").Environment()
        self._schedule = self._environment.schedule
        self.events = 0

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self._environment.now

    def after(self, seconds: float, action: Callable[[Event], None], value: Any = None) -> None:
        """Call *action* in so many *seconds*; of those due at one moment, who came first is first."""
        self.events += 1
        self._schedule(Event(action, value), delay=seconds)

    def run(self, until: float) -> None:
        """Let everything happen that is due before *until*."""
        self._environment.run(until=until)
