"""The catalogue's metrics through ``ray.util.metrics``, for Ray's dashboard and its Prometheus endpoint.

There each process has series of its own, named ``ray_hecaton_...``. A histogram of Ray takes single values: of what a
bucket has got since the last time, each value is told as their share of what the sum has grown by.
"""

from __future__ import annotations

from collections.abc import Sequence

from ray.util.metrics import Counter, Gauge, Histogram

from agents.telemetry.catalogue import CATALOGUE
from agents.telemetry.metric import Kind, Metric
from agents.telemetry.recorder import Labels, Recorded

_MOST_VALUES = 1000
"""Values of one bucket that are told at a time; more than that in two seconds would cost more than they tell."""
_PART = "part"


class RayCharts:
    """Shows snapshots of one process."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        self._shown: Recorded = {}

    def show(self, recorded: Recorded) -> None:
        """Show what has changed since the last time."""
        for metric in CATALOGUE:
            before = self._shown.get(metric.name, {})
            now = recorded.get(metric.name, {})
            for labels, numbers in now.items():
                earlier = before.get(labels)
                if numbers != earlier:
                    self._show(metric, labels, numbers, earlier or (0.0,) * metric.width)
            if metric.kind is Kind.GAUGE:
                for labels in before.keys() - now.keys():
                    self._show(metric, labels, (0.0,), (0.0,))
        self._shown = recorded

    def _show(self, metric: Metric, labels: Labels, now: Sequence[float], before: Sequence[float]) -> None:
        tags = {_PART: self._part, **dict(zip(metric.label_names, labels, strict=True))}
        match self._metric(metric):
            case Counter() as counter if now[0] > before[0]:
                counter.inc(now[0] - before[0], tags)
            case Gauge() as gauge:
                gauge.set(now[0], tags)
            case Histogram() as histogram:
                for value in _values(metric, now, before):
                    histogram.observe(value, tags)
            case _:
                pass

    def _metric(self, metric: Metric) -> Counter | Gauge | Histogram:
        known = self._metrics.get(metric.name)
        if known is None:
            names = (_PART, *metric.label_names)
            match metric.kind:
                case Kind.COUNTER:
                    known = Counter(metric.name, metric.help, names)
                case Kind.GAUGE:
                    known = Gauge(metric.name, metric.help, names)
                case Kind.HISTOGRAM:
                    known = Histogram(metric.name, metric.help, list(metric.buckets), names)
            self._metrics[metric.name] = known
        return known


def _values(metric: Metric, now: Sequence[float], before: Sequence[float]) -> list[float]:
    """Return values that a histogram can be told for what it has grown by: each in its bucket."""
    bounds = [0.0, *metric.buckets]
    values: list[float] = []
    for index, (new, old) in enumerate(zip(now[1:], before[1:], strict=True)):
        middle = (bounds[index] + bounds[index + 1]) / 2 if index + 1 < len(bounds) else bounds[-1] * 1.5
        values.extend([middle] * min(int(new - old), _MOST_VALUES))
    return values
