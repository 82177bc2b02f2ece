"""When a brain may have more replicas than ``max_replicas``: a burst, for a spike of load and for money.

A burst begins when the load has wanted clearly more for a while, and lasts until ``max_replicas`` are enough and no
more are left. Between those two thresholds nothing changes, so that a load around one of them makes no flutter.
"""

from __future__ import annotations


class BurstGate:
    """How many replicas one brain may have now."""

    def __init__(self, usual: int, most: int, *, load_factor: float, start_seconds: float) -> None:
        """*usual* replicas without a burst, *most* in one; see ``scaling.burst`` for the rest."""
        self._usual = usual
        self._most = most
        self._load_factor = load_factor
        self._start_seconds = start_seconds
        self._wanted_since: float | None = None
        self.bursting = False

    def allowed(self, wanted: float, target: int, now: float) -> int:
        """Return the most replicas there may be, when the load wants *wanted* and *target* are meant to run.

        *now* is in seconds. A target beyond the usual is a burst that somebody else began, before this one was made.
        """
        if self.bursting:
            self.bursting = max(wanted, target) > self._usual
        else:
            self.bursting = target > self._usual or self._has_begun(wanted, now)
        return self._most if self.bursting else self._usual

    def _has_begun(self, wanted: float, now: float) -> bool:
        if self._most <= self._usual or wanted <= self._load_factor * self._usual:
            self._wanted_since = None
            return False
        if self._wanted_since is None:
            self._wanted_since = now
        if now - self._wanted_since < self._start_seconds:
            return False
        self._wanted_since = None
        return True
