"""Statistics of raw samples, and the file they are kept in beside the facts that explain them."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agents.experiments.running.machine import machine_description
from benchmarks.deployment import ROOT

RESULTS = ROOT / "benchmarks" / "results"
_RESAMPLES = 1000


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of the samples lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio_of_medians(over: Sequence[float], under: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of two medians with its 95 % bootstrap interval."""
    return _with_interval(over, under, lambda over, under: over / under)


def difference_of_medians(over: Sequence[float], under: Sequence[float]) -> tuple[float, float, float]:
    """The difference of two medians with its 95 % bootstrap interval."""
    return _with_interval(over, under, lambda over, under: over - under)


def ratio_of_means(over: Sequence[float], under: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of two means with its 95 % bootstrap interval."""
    return _with_interval(over, under, lambda over, under: over / under, statistics.fmean)


def _with_interval(
    over: Sequence[float],
    under: Sequence[float],
    compare: Callable[[float, float], float],
    middle: Callable[[Sequence[float]], float] = statistics.median,
) -> tuple[float, float, float]:
    dice = random.Random(1)
    found = sorted(
        compare(middle(dice.choices(over, k=len(over))), middle(dice.choices(under, k=len(under))))
        for _ in range(_RESAMPLES)
    )
    value = compare(middle(over), middle(under))
    return value, found[int(0.025 * _RESAMPLES)], found[int(0.975 * _RESAMPLES)]


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least-squares slope of y over x, and the half width of its 95 % interval (normal approximation)."""
    count = len(points)
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    left_over = sum((y - mean_y - rise * (x - mean_x)) ** 2 for x, y in points)
    error = (left_over / (count - 2) / spread) ** 0.5
    return rise, 1.96 * error


def write_results(name: str, results: dict[str, Any]) -> Path:
    """Write *results* with the facts to a new file; returns it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}.json"
    file.write_text(json.dumps({"machine": machine_description(sys.argv), **results}, indent=1))
    return file
