"""What goes wrong with owning sessions: those that get nowhere, and partitions that change hands again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime

from agents.governance.anomalies.anomaly import AnomalyKind, Finding
from agents.governance.anomalies.settings import AnomalySettings

_MAX_STUCK = 1000
"""Stuck sessions that are told of one by one."""
_LOOKS_APART = 2
"""Takeovers that so many looks in a row find are one wave: an owner's share comes in several claims."""


class StuckSessions:
    """Sessions with a turn under way whose log does not grow."""

    def __init__(self, settings: AnomalySettings) -> None:
        self._limit = settings.stuck_seconds
        self._told: set[str] = set()
        self._seen: dict[str, datetime] = {}
        """When each session that runs was first seen to: a turn that was taken up may have stood still before."""

    def check(self, running: Iterable[tuple[str, datetime]], now: datetime) -> Iterator[Finding]:
        """Find those that are stuck, or no more; *running* are the sessions with the time of their last commit."""
        begun = dict(running)
        self._seen = {session_id: self._seen.get(session_id, now) for session_id in begun}
        silent = {
            session_id: (now - max(last, self._seen[session_id])).total_seconds() for session_id, last in begun.items()
        }
        stuck = {session_id: seconds for session_id, seconds in silent.items() if seconds >= self._limit}
        for session_id in sorted(self._told - stuck.keys()):
            self._told.discard(session_id)
            words = "the session goes on" if session_id in silent else "the session's turn has ended, or has moved"
            yield Finding(AnomalyKind.STUCK_SESSION, session_id, words, session_id=session_id, over=True)
        for session_id in sorted(stuck.keys() - self._told)[: _MAX_STUCK - len(self._told)]:
            self._told.add(session_id)
            seconds = stuck[session_id]
            words = f"the session runs, and nothing was committed for {seconds:.0f} s"
            figures = {"silent_seconds": seconds}
            yield Finding(AnomalyKind.STUCK_SESSION, session_id, words, figures, session_id=session_id)


class TakeoverStorms:
    """Waves of takeovers: one wave is an owner that has died, several are something that does not come to rest."""

    def __init__(self, settings: AnomalySettings) -> None:
        self._settings = settings
        self._apart = _LOOKS_APART * settings.check_seconds
        self._waves: deque[float] = deque(maxlen=1000)
        self._known: int | None = None
        self._last = 0.0
        self._raging = False

    def check(self, takeovers: int, at: float) -> Iterator[Finding]:
        """Find the storm that begins or ends now; *takeovers* counts all since the process began."""
        rules = self._settings
        # The first look is at what a new owner takes up: that is no wave.
        if self._known is not None and takeovers > self._known:
            if not self._waves or at - self._last > self._apart:
                self._waves.append(at)
            self._last = at
        self._known = takeovers
        while self._waves and self._waves[0] <= at - rules.storm_window_seconds:
            self._waves.popleft()
        waves = len(self._waves)
        if not self._raging and waves >= rules.storm_waves:
            self._raging = True
            words = f"partitions were taken over in {waves} waves within {rules.storm_window_seconds:g} s"
            yield Finding(AnomalyKind.TAKEOVER_STORM, "platform", words, {"waves": waves})
        elif self._raging and not waves:
            self._raging = False
            words = f"no partition was taken over for {rules.storm_window_seconds:g} s"
            yield Finding(AnomalyKind.TAKEOVER_STORM, "platform", words, over=True)
