"""Requests and platforms for tests of the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.brains.service_time import ServiceTime
from agents.experiments.model.queueing.inputs import Empirical, Requests, Shape, Step, System, Workload

AT_ONCE = ServiceTime(step_seconds=0, step_seconds_per_answer=0, max_batch=512)
"""A brain that takes no time and is never full, where it is not what is looked at."""
SECOND = ServiceTime(prefill_tokens_per_second=1e9, step_seconds=0.01, step_seconds_per_answer=0, max_batch=1)
"""One answer at a time; 100 tokens take a second."""


def poisson(rate: float, count: int, *, seed: int = 5, names: tuple[str, ...] = ("work",)) -> Requests:
    """*count* requests of a Poisson process, of all workloads by turns."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    return Requests(np.cumsum(gaps), np.arange(count) % len(names), names)


def at(*due: float) -> Requests:
    """Requests at these moments."""
    return Requests(np.array(due, dtype=float), np.zeros(len(due), dtype=np.int64), ("work",))


def work(*steps: tuple[str, ...], tokens: float = 100) -> Workload:
    """A workload of one shape: each step's tools; an answer follows them."""
    parts = (*(Step(0, tokens, tools) for tools in steps), Step(0, tokens))
    return Workload("work", (Shape(parts),))


def exponential(mean: float) -> Empirical:
    """An exponential distribution by its quantiles, as data of it would be."""
    return Empirical.of(-mean * np.log1p(-(np.arange(100_000) + 0.5) / 100_000))


def system(topology: Any = "decoupled", brain: ServiceTime = AT_ONCE, **more: Any) -> System:
    """A platform whose tool ``look`` takes a second."""
    return System(topology, brain, **{"tools": {"look": Empirical.fixed(1.0)}, **more})
