"""What a metric is: its name and kind by Prometheus' conventions, and labels that cannot grow without bound."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

MOST_VALUES = 100
"""Values that one label may have before the next one is told as ``other``: each is a series in every scrape."""
OTHER = "other"


class Kind(StrEnum):
    """What Prometheus does with it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """One label. With *values* it has only these; else the first *most* that come, and ``other`` for the rest."""

    name: str
    values: tuple[str, ...] = ()
    most: int = MOST_VALUES

    def admits(self, value: str, known: set[str]) -> bool:
        """Whether *value* may have a series of its own, beside those *known*."""
        return value in self.values if self.values else value in known or len(known) < self.most


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue.

    *buckets* are a histogram's upper bounds, without infinity. *merge* says what a gauge is of several processes that
    tell the same series; counters and histograms are always summed.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Literal["sum", "max"] = "sum"

    @property
    def width(self) -> int:
        """How many numbers one series has: a histogram's are its sum and the count of each bucket."""
        return len(self.buckets) + 2 if self.kind is Kind.HISTOGRAM else 1

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)
