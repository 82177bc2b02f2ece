"""The whole platform's figures, of what each process tells of itself again and again.

Invariant: what a process has counted stays counted when it ends. A process that is silent has its counters kept and
its gauges forgotten; of more silent ones than are kept apart, the counters are added up and the names remembered, so
that one which comes back after all is not counted twice.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from agents.telemetry.catalogue import CATALOGUE
from agents.telemetry.metric import Kind, Metric
from agents.telemetry.recorder import Bounds, Labels, Recorded

PRESENT_SECONDS = 30.0
"""A process that has not told anything for so long counts as gone, with what it holds."""
_MOST_PROCESSES = 512
_MOST_REMEMBERED = 4096

_BY_NAME = {metric.name: metric for metric in CATALOGUE}


@dataclass(slots=True)
class _Process:
    heard: float
    recorded: Recorded


class Sum:
    """Snapshots, added up."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._series: dict[str, dict[Labels, tuple[float, ...]]] = {}

    def add(self, recorded: Recorded, *, gauges: bool = True) -> None:
        """Add one snapshot; what is not in this release's catalogue is left out."""
        for name, series in recorded.items():
            metric = _BY_NAME.get(name)
            if metric is None or (metric.kind is Kind.GAUGE and not gauges):
                continue
            sums = self._series.setdefault(name, {})
            for labels, numbers in series.items():
                if len(labels) == len(metric.labels) and len(numbers) == metric.width:
                    told = self._bounds.admitted(metric, labels)
                    sums[told] = _together(metric, sums.get(told), numbers)

    @property
    def recorded(self) -> Recorded:
        return self._series


def _together(metric: Metric, one: tuple[float, ...] | None, other: tuple[float, ...]) -> tuple[float, ...]:
    if one is None:
        return other
    if metric.merge == "max":
        return tuple(map(max, one, other))
    return tuple(map(sum, zip(one, other, strict=True)))


class ClusterTotals:
    """What processes told last, and what is kept of those that are gone."""

    def __init__(self, *, most: int = _MOST_PROCESSES) -> None:
        self._most = most
        self._processes: OrderedDict[str, _Process] = OrderedDict()
        self._folded: OrderedDict[str, None] = OrderedDict()
        self._bounds = Bounds()
        self._gone = Sum(self._bounds)

    def __contains__(self, process: str) -> bool:
        return process in self._processes

    def take(self, process: str, recorded: Recorded, now: float) -> None:
        """Take note of what *process* says of itself as of *now* (seconds, of a clock that only grows)."""
        if process in self._folded:
            return
        self._processes[process] = _Process(now, recorded)
        self._processes.move_to_end(process)
        while len(self._processes) > self._most:
            name, longest_silent = self._processes.popitem(last=False)
            self._fold(name, longest_silent.recorded)

    def _fold(self, process: str, recorded: Recorded) -> None:
        self._gone.add(recorded, gauges=False)
        self._folded[process] = None
        if len(self._folded) > _MOST_REMEMBERED:
            self._folded.popitem(last=False)

    def totals(self, now: float) -> Recorded:
        """Add up what all have told."""
        total = Sum(self._bounds)
        total.add(self._gone.recorded)
        for process in self._processes.values():
            total.add(process.recorded, gauges=now - process.heard < PRESENT_SECONDS)
        return total.recorded

    def dump(self) -> dict[str, Any]:
        """Return, as JSON, what another process can go on with."""
        return {
            "gone": _packed(self._gone.recorded),
            "folded": list(self._folded),
            "processes": {name: _packed(process.recorded) for name, process in self._processes.items()},
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Go on with what another process has dumped; its processes count as gone until they are heard."""
        self._gone.add(_unpacked(dumped["gone"]))
        self._folded.update(dict.fromkeys(dumped["folded"]))
        for name, packed in dumped["processes"].items():
            if name not in self._processes:
                self._processes[name] = _Process(float("-inf"), _unpacked(packed))
                self._processes.move_to_end(name, last=False)


class Floor:
    """Keeps what is told from falling: a counter that falls a little is, to Prometheus, one that began anew."""

    def __init__(self) -> None:
        self._told: dict[str, dict[Labels, tuple[float, ...]]] = {}

    def above(self, recorded: Recorded) -> Recorded:
        """Return *recorded*, with no counter or histogram below what was returned before."""
        told = dict(recorded)
        for metric in CATALOGUE:
            if metric.kind is not Kind.GAUGE and (series := recorded.get(metric.name)) is not None:
                known = self._told.setdefault(metric.name, {})
                for labels, numbers in series.items():
                    before = known.get(labels)
                    known[labels] = numbers if before is None else tuple(map(max, before, numbers))
            if metric.name in self._told:
                told[metric.name] = dict(self._told[metric.name])
        return told


def _packed(recorded: Recorded) -> list[Any]:
    return [
        [name, list(labels), list(numbers)] for name, series in recorded.items() for labels, numbers in series.items()
    ]


def _unpacked(packed: list[Any]) -> Recorded:
    series: dict[str, dict[Labels, tuple[float, ...]]] = {}
    for name, labels, numbers in packed:
        series.setdefault(name, {})[tuple(labels)] = tuple(numbers)
    return series
