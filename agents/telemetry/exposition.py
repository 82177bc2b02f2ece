"""What was recorded, as ``prometheus_client`` exposes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from agents.telemetry.catalogue import CATALOGUE
from agents.telemetry.metric import Kind, Metric
from agents.telemetry.recorder import Labels, Recorded


class RecordedCollector(Collector):
    """Every metric of the catalogue, with the series of one snapshot.

    A counter or histogram whose labels can only have known values is there from the beginning, with 0: a rate over the
    first event would else miss it.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    def collect(self) -> Iterable[Family]:
        for metric in CATALOGUE:
            series = {**dict.fromkeys(_expected(metric), (0.0,) * metric.width), **self._recorded.get(metric.name, {})}
            yield _family(metric, series)


def _expected(metric: Metric) -> Iterable[Labels]:
    if metric.kind is not Kind.GAUGE and all(label.values for label in metric.labels):
        yield from product(*(label.values for label in metric.labels))


def _family(metric: Metric, series: dict[Labels, tuple[float, ...]]) -> Family:
    names = metric.label_names
    match metric.kind:
        case Kind.COUNTER:
            family = CounterMetricFamily(metric.name, metric.help, labels=names)
        case Kind.GAUGE:
            family = GaugeMetricFamily(metric.name, metric.help, labels=names)
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=names)
            for labels, (total, *counts) in sorted(series.items()):
                histogram.add_metric(labels, list(_cumulative(metric.buckets, counts)), total)
            return histogram
    for labels, (value,) in sorted(series.items()):
        family.add_metric(labels, value)
    return family


def _cumulative(bounds: Sequence[float], counts: Sequence[float]) -> Iterable[tuple[str, float]]:
    names = [*(repr(bound) for bound in bounds), "+Inf"]
    return zip(names, accumulate(counts), strict=True)
