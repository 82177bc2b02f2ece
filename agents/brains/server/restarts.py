"""How often an inference server that dies is started again."""

from __future__ import annotations

from collections import deque

from agents.clock import Clock

WINDOW_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 30.0


class RestartBudget:
    """At most *most* restarts within ten minutes: the first at once, each later one after a longer pause."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._taken: deque[float] = deque()

    def take(self) -> float | None:
        """Return the seconds to wait before the next restart, or None when there have been too many."""
        now = self._clock.monotonic()
        while self._taken and self._taken[0] <= now - WINDOW_SECONDS:
            self._taken.popleft()
        before = len(self._taken)
        if before >= self._most:
            return None
        self._taken.append(now)
        return 0.0 if before == 0 else min(2.0 ** (before - 1), _LONGEST_PAUSE_SECONDS)
