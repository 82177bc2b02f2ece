"""How busy a model server is: requests under way, summed over time, so that any stretch of it can be judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Occupancy:
    """Counts by the clock; what is asked for costs nothing until it is asked for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._busy_seconds = 0.0
        self._under_way = 0
        self._most = 0
        self._ended = 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request from here until its end, however it ends."""
        self._pass_time()
        self._under_way += 1
        self._most = max(self._most, self._under_way)
        try:
            yield
        finally:
            self._pass_time()
            self._under_way -= 1
            self._ended += 1

    def reading(self) -> dict[str, float]:
        """The time (seconds of the clock), the request-seconds and requests until then, and most of these at a time."""
        self._pass_time()
        return {"at": self._at, "busy_seconds": self._busy_seconds, "ended": self._ended, "most": self._most}

    def _pass_time(self) -> None:
        now = self._clock()
        self._busy_seconds += self._under_way * (now - self._at)
        self._at = now
