"""What the one who decides knows of the decoupled path: what the harnesses report, and what is away."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from agents.clock import Clock
from agents.settings_sections import StandbySettings
from agents.standby.breaker import Health
from agents.standby.health import PathReport

REPORT_SECONDS = 2.0
"""Between two reports of one harness."""
_SILENT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Heard:
    moment: float
    lacking: tuple[str, ...]


class PathWatch:
    """The reports of the last window, and since when each part is away. A part must have been there to be away."""

    def __init__(self, bounds: StandbySettings, clock: Clock) -> None:
        self._bounds = bounds
        self._clock = clock
        self._outcomes: deque[tuple[float, int, int]] = deque()
        self._harnesses: dict[str, _Heard] = {}
        self._had_harness = False
        self._had_host = False
        self._away_since: dict[str, float] = {}

    def now(self) -> float:
        """Return wall time in seconds, as the breaker counts it."""
        return self._clock.now().timestamp()

    def report(self, harness: str, report: PathReport) -> None:
        """Take a harness's report."""
        now = self.now()
        self._had_harness = True
        self._harnesses[harness] = _Heard(now, report.lacking)
        if report.requests:
            self._outcomes.append((now, report.requests, report.failed))

    def health(self, since: float, *, host: bool, standby: bool) -> Health:
        """Return how the path has done since the moment *since*; whether a *host* and a *standby* are there is told."""
        now = self.now()
        self._had_host = self._had_host or host
        self._harnesses = {
            name: heard for name, heard in self._harnesses.items() if now - heard.moment < _SILENT_SECONDS
        }
        while self._outcomes and now - self._outcomes[0][0] > self._bounds.window_seconds:
            self._outcomes.popleft()
        counted = [(requests, failed) for moment, requests, failed in self._outcomes if moment >= since]
        return Health(
            requests=sum(requests for requests, _ in counted),
            failed=sum(failed for _, failed in counted),
            outage=self._outage(now, host=host),
            standby=standby,
        )

    def _outage(self, now: float, *, host: bool) -> str | None:
        self._away_since = {part: self._away_since.get(part, now) for part in self._away(host=host)}
        longest = self._bounds.outage_seconds
        return next(
            (f"{part} for {longest:g} s" for part, moment in self._away_since.items() if now - moment >= longest), None
        )

    def _away(self, *, host: bool) -> Iterator[str]:
        if self._had_harness and not self._harnesses:
            yield "no harness reports"
        if self._had_host and not host:
            yield "no sandbox host is up"
        for brain in sorted({brain for heard in self._harnesses.values() for brain in heard.lacking}):
            yield f"brain {brain} has no replica"
