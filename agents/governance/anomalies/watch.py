"""Looking for anomalies in one process: a harness looks at its sessions, a gateway at its routes.

Every process looks at what it sees itself: nothing travels, and nobody waits. What only shows in all of them together
is for the alert rules (cluster/monitoring/rules), which see the totals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from agents.clock import Clock
from agents.governance.anomalies.anomaly import AnomalySink, Finding
from agents.governance.anomalies.costs import SpendingRate, TurnCosts
from agents.governance.anomalies.latency import LatencySpikes
from agents.governance.anomalies.ownership import StuckSessions, TakeoverStorms
from agents.governance.anomalies.reporting import Reporter
from agents.governance.anomalies.sessions import SessionWatch
from agents.governance.anomalies.settings import AnomalySettings
from agents.periodic import PeriodicTask
from agents.sessions.state import SessionState

Running = Callable[[], Iterable[tuple[str, datetime]]]
"""Tells the sessions with a turn under way here, with the time of their last commit."""


class AnomalyWatch:
    """The detectors of one process, and the task that has them look."""

    def __init__(self, settings: AnomalySettings, sink: AnomalySink, clock: Clock, observer: str) -> None:
        """*observer* is the name of the process."""
        self._settings = settings
        self._clock = clock
        self._latencies = LatencySpikes(settings)
        self._spending = SpendingRate(settings)
        self._turns = TurnCosts(settings)
        self._stuck = StuckSessions(settings)
        self._storms = TakeoverStorms(settings)
        self._reporter = Reporter(sink, clock, observer)
        self._running: Running = lambda: ()
        self._takeovers: Callable[[], int] = lambda: 0
        self._task = PeriodicTask(
            "anomaly detector",
            self._look,
            clock,
            every=settings.check_seconds,
            failing="anomalies were not looked for",
        )

    def own(self, running: Running, takeovers: Callable[[], int]) -> None:
        """Look, too, at the sessions that are owned here and at the partitions that were taken over so far."""
        self._running, self._takeovers = running, takeovers

    def start(self) -> None:
        """Look again and again from now on; needs a running event loop."""
        if self._settings.enabled:
            self._task.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._task.stop()

    def session(self, state: SessionState) -> SessionWatch | None:
        """Return what looks at the commits of a session from *state* on; None when nobody is to look."""
        if not self._settings.enabled:
            return None
        return SessionWatch(
            self._settings, state, self._turns, self._spending, self._clock.monotonic, self._reporter.report
        )

    def took(self, subject: str, seconds: float) -> None:
        """Take note of how long *subject* (``brain NAME``, ``hand NAME``, ``route PATH``) took to answer once."""
        if self._settings.enabled:
            self._latencies.observe(subject, seconds, self._clock.monotonic())

    async def _look(self) -> None:
        self.check()

    def check(self) -> None:
        """Look once at everything that is not found at once, and report what was found."""
        self._reporter.report(self._found())

    def _found(self) -> Iterator[Finding]:
        now = self._clock.monotonic()
        yield from self._latencies.check(now)
        yield from self._spending.check(now)
        yield from self._stuck.check(self._running(), self._clock.now())
        yield from self._storms.check(self._takeovers(), now)
