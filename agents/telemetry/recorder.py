"""Counting in one process: a dictionary look-up and an addition, so that it can stand on the hot path.

Nothing here is known to Prometheus or Ray; they get snapshots (``Recorded``), which can be added up.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Callable, Mapping

from agents.telemetry.catalogue import CATALOGUE
from agents.telemetry.metric import OTHER, Kind, Metric

Labels = tuple[str, ...]
Recorded = Mapping[str, Mapping[Labels, tuple[float, ...]]]
"""Series by metric and the values of their labels; see ``Metric.width`` for the numbers of one."""

Listener = Callable[[float, Labels], None]
"""Gets each value of a histogram, with its labels as they were given."""


class Bounds:
    """The values that labels have had, so that those beyond a label's bound become ``other``."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], set[str]] = {}

    def admitted(self, metric: Metric, labels: Labels) -> Labels:
        """Return *labels* as they are told. Raises ValueError when they are not the metric's."""
        return tuple(
            value if self._admits(metric, position, value) else OTHER
            for position, (_, value) in enumerate(zip(metric.labels, labels, strict=True))
        )

    def _admits(self, metric: Metric, position: int, value: str) -> bool:
        label = metric.labels[position]
        known = self._known.setdefault((metric.name, label.name), set())
        if value == OTHER or not label.admits(value, known):
            return False
        known.add(value)
        return True


class Recorder:
    """What one process has counted since it began, under a name of its own."""

    on = True
    """Whether anything is recorded, so that what would only be recorded need not be found out."""

    def __init__(self) -> None:
        self.process = secrets.token_hex(8)
        self._bounds = Bounds()
        self._series: dict[str, dict[Labels, list[float]]] = {metric.name: {} for metric in CATALOGUE}
        self._collectors: list[Callable[[Recorder], None]] = []
        self._listeners: dict[str, Listener] = {}

    def count(self, counter: Metric, *labels: str, by: float = 1.0) -> None:
        """Add *by* to a counter."""
        self._cell(counter, labels)[0] += by

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Count one value of a histogram."""
        cell = self._cell(histogram, labels)
        cell[0] += value
        cell[1 + bisect_left(histogram.buckets, value)] += 1
        listener = self._listeners.get(histogram.name)
        if listener is not None:
            listener(value, labels)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Say how a gauge stands, or a counter that is kept elsewhere; only from a collector."""
        self._cell(metric, labels)[0] = value

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a gauge that several tell a part of; only from a collector."""
        self._cell(metric, labels)[0] += value

    def listen(self, histogram: Metric, listener: Listener) -> None:
        """Have *listener* hear of each value of *histogram* as well; there is one. It is quick and never raises."""
        self._listeners[histogram.name] = listener

    def collect(self, collector: Callable[[Recorder], None]) -> None:
        """Have *collector* set what it knows whenever a snapshot is taken; gauges are unset before."""
        self._collectors.append(collector)

    def snapshot(self) -> Recorded:
        """Return everything as it stands."""
        for metric in CATALOGUE:
            if metric.kind is Kind.GAUGE:
                self._series[metric.name].clear()
        for collector in self._collectors:
            collector(self)
        return {
            name: {labels: tuple(cell) for labels, cell in series.items()}
            for name, series in self._series.items()
            if series
        }

    def _cell(self, metric: Metric, labels: Labels) -> list[float]:
        series = self._series[metric.name]
        cell = series.get(labels)
        if cell is None:
            cell = series.setdefault(self._bounds.admitted(metric, labels), [0.0] * metric.width)
        return cell


class SilentRecorder(Recorder):
    """Records nothing: ``telemetry.metrics: false``."""

    on = False

    def count(self, counter: Metric, *labels: str, by: float = 1.0) -> None:
        return

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        return

    def collect(self, collector: Callable[[Recorder], None]) -> None:
        return


def recorder_for(*, metrics: bool) -> Recorder:
    """Return the recorder of one process, as the setting ``telemetry.metrics`` says."""
    return Recorder() if metrics else SilentRecorder()
