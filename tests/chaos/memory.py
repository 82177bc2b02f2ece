"""Memory of the parts over a run, and whether it grows.

Counted is what is a process's own (USS): pages shared with others come and go with those others. Killed
processes are followed by new ones, so parts are compared, not processes: the median process of each kind.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil

from tests.chaos.parts import Part
from tests.chaos.record import Violation

MEBIBYTE = 1024 * 1024
_UNCOUNTED = frozenset({"postgresql", "postgresql backend"})
"""PostgreSQL's memory is its own affair."""
TOLERANCE = 0.35
TOLERANCE_BYTES = 40 * MEBIBYTE
"""How far the median process may stay above where it was: arenas of the allocator and bounded caches
(sessions, results of finished calls) are larger after many sessions than after a few."""

Sample = dict[str, list[int]]
"""Private bytes of each process, by part."""


def sample(parts: Sequence[Part]) -> Sample:
    """Measure all parts now."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for part in parts:
        if part.kind not in _UNCOUNTED:
            try:
                found[part.kind].append(part.process.memory_full_info().uss)
            except psutil.Error:
                continue  # it ended meanwhile
    return dict(found)


def growth(before: Sample, after: Sample) -> Iterator[Violation]:
    """Yield every part whose median process is larger than tolerated."""
    for kind, values in after.items():
        if kind in before:
            then, now = statistics.median(before[kind]), statistics.median(values)
            if now > then * (1 + TOLERANCE) + TOLERANCE_BYTES:
                yield Violation("memory", kind, f"{then / MEBIBYTE:.0f} MiB before, {now / MEBIBYTE:.0f} MiB after")


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth of one part by linear regression, in MiB per hour, with a 95 % confidence interval."""

    part: str
    start: float
    """MiB at the beginning, by the fitted line."""
    per_hour: float
    low: float
    high: float

    @property
    def grows(self) -> bool:
        """Whether growth is certain and would matter: more than a tenth of its size per hour."""
        return self.low > 0 and self.per_hour > max(0.1 * self.start, 5.0)


def slopes(samples: Sequence[tuple[float, Sample]], blocks: int = 20) -> list[Slope]:
    """Fit a line to each part's total. Neighbouring samples depend on each other, so means of *blocks* are fitted."""
    totals: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for at, found in samples:
        for kind, values in found.items():
            totals[kind].append((at, statistics.median(values) / MEBIBYTE))
    return [fit(kind, _blocked(points, blocks)) for kind, points in sorted(totals.items()) if len(points) > 4]


def _blocked(points: Sequence[tuple[float, float]], blocks: int) -> list[tuple[float, float]]:
    size = max(1, math.ceil(len(points) / blocks))
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (statistics.fmean(at for at, _ in group), statistics.fmean(value for _, value in group)) for group in groups
    ]


def fit(part: str, points: Sequence[tuple[float, float]]) -> Slope:
    """Fit a line through (seconds, MiB) by least squares."""
    times = [at / 3600 for at, _ in points]
    values = [value for _, value in points]
    line = statistics.linear_regression(times, values)
    rest = [value - line.intercept - line.slope * at for at, value in zip(times, values, strict=True)]
    middle = statistics.fmean(times)
    spread = sum((at - middle) ** 2 for at in times)
    degrees = len(points) - 2
    error = math.sqrt(sum(each * each for each in rest) / degrees / spread) if degrees > 0 and spread else math.inf
    reach = _student(degrees) * error
    start = line.intercept + line.slope * times[0]
    return Slope(part, start, line.slope, line.slope - reach, line.slope + reach)


_STUDENT: Mapping[int, float] = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 8: 2.31, 10: 2.23, 15: 2.13}


def _student(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t, from the next smaller tabled number of degrees of freedom."""
    known = [quantile for number, quantile in _STUDENT.items() if number <= degrees]
    return min(known) if known else math.inf
