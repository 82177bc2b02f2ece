"""Claim: a million sessions of the model of larger platforms are minutes of one core, and memory that any machine has.

Falsified when, in either topology, a session takes more than 24 events of the simulation or 200 microseconds of one
core, or the whole run more than 512 MB. A session is three model requests and three tool calls on 64 GPUs, which
Poisson arrivals keep so busy that some turns of the monolith wait. What comes of them is told beside it, for a run that
served fewer would be cheap.

Run: ``python -m benchmarks.bench_model [--sessions N]``. Each topology has a process of its own, whose memory is told.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.brains.service_time import ServiceTime
from agents.experiments.model.queueing.inputs import (
    Empirical,
    Hands,
    Overhead,
    Requests,
    Shape,
    Step,
    Stretch,
    System,
    Topology,
    Workload,
)
from agents.experiments.model.queueing.simulation import simulate
from benchmarks.report import verdict

_MOST_EVENTS = 24.0
_MOST_MICROSECONDS = 200.0
_MOST_BYTES = 512_000_000
_GPUS = 64
_SESSIONS_PER_SECOND = 25.0
"""Half of the GPUs' places are then in use by a monolith, and a third by a decoupled platform."""
_WARM_UP_SHARE = 0.1
_TOPOLOGIES: Sequence[Topology] = ("monolith", "decoupled")


@dataclass(frozen=True, slots=True)
class Cost:
    """What simulating one topology took, and what it came to."""

    topology: Topology
    sessions: int
    core_seconds: float
    """Processor time of the simulation alone: its requests are drawn before, and its figures are in it."""
    events: int
    bytes_before: int
    """Most memory that the process had before: Python and its packages."""
    bytes_most: int
    figures: dict[str, Any]
    """Of the simulated platform (``agents.experiments.model.queueing.results.Figures``)."""

    @property
    def microseconds(self) -> float:
        """Of one core, for a session."""
        return 1e6 * self.core_seconds / self.sessions

    @property
    def events_each(self) -> float:
        return self.events / self.sessions

    def missed(self) -> list[str]:
        """Name the parts of the claim that this falsifies."""
        unserved = self.figures["due"] - self.figures["served"]
        said = {
            f"{self.events_each:.1f} events a session, not {_MOST_EVENTS:g}": self.events_each > _MOST_EVENTS,
            f"{self.microseconds:.0f} us a session, not {_MOST_MICROSECONDS:g}": (
                self.microseconds > _MOST_MICROSECONDS
            ),
            f"{self.bytes_most / 1e6:.0f} MB, not {_MOST_BYTES / 1e6:g}": self.bytes_most > _MOST_BYTES,
            f"{unserved} sessions that were not served": unserved > 0,
        }
        return [f"{self.topology}: {what}" for what, is_so in said.items() if is_so]


def sessions(count: int) -> tuple[Requests, Workload]:
    """Return *count* arrivals, and what they are: answers of 20 to 180 tokens, two calls at once, then one."""
    gaps = np.random.default_rng(1).exponential(1 / _SESSIONS_PER_SECOND, count)
    requests = Requests(np.cumsum(gaps), np.zeros(count, dtype=np.int64), ("work",))
    shapes = (
        Shape((Step(400, tokens, ("look", "look")), Step(150, tokens, ("look",)), Step(150, tokens)))
        for tokens in range(20, 200, 20)
    )
    return requests, Workload("work", tuple(shapes))


def platform(topology: Topology) -> System:
    """Return the platform: tools that take a second, exponentially, and some milliseconds of its own between parts."""
    seconds = Empirical.of(-np.log1p(-(np.arange(2000) + 0.5) / 2000))
    overhead = Overhead(Empirical.fixed(0.01), Empirical.fixed(0.02), Empirical.fixed(0.01))
    hands = Hands(min_replicas=8, max_replicas=64)
    return System(topology, ServiceTime(), gpus=_GPUS, tools={"look": seconds}, hands=(hands,), overhead=overhead)


def cost_of(topology: Topology, count: int) -> Cost:
    """Simulate *count* sessions. To be called in a process of its own, whose memory it tells."""
    requests, workload = sessions(count)
    # The last one is due within it.
    length = float(requests.due[-1]) + 1.0
    stretch = Stretch(length, warm_up=_WARM_UP_SHARE * length)
    before, began = _most_bytes(), time.process_time()
    run = simulate(requests, [workload], platform(topology), stretch)
    took = time.process_time() - began
    return Cost(topology, count, took, run.figures.events, before, _most_bytes(), run.figures.as_dict())


def _most_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(count: int) -> list[Cost]:
    """Simulate both topologies, one after the other."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1) as processes:
        return [processes.submit(cost_of, topology, count).result() for topology in _TOPOLOGIES]


def show(console: Console, costs: Sequence[Cost]) -> None:
    """Print the table."""
    table = Table(title=f"Simulating {costs[0].sessions} sessions on {_GPUS} GPUs", title_justify="left")
    table.add_column("topology")
    for column in ("s of one core", "us each", "events each", "MB", "MB before", "sessions/s", "p50 s", "p95 s"):
        table.add_column(column, justify="right")
    for cost in costs:
        latency = cost.figures["latency_seconds"] or {"p50": float("nan"), "p95": float("nan")}
        table.add_row(
            cost.topology,
            f"{cost.core_seconds:.1f}",
            f"{cost.microseconds:.0f}",
            f"{cost.events_each:.1f}",
            f"{cost.bytes_most / 1e6:.0f}",
            f"{cost.bytes_before / 1e6:.0f}",
            f"{cost.figures['throughput_per_second']:.2f}",
            f"{latency['p50']:.2f}",
            f"{latency['p95']:.2f}",
        )
    table.caption = "the last three are of the simulated platform"
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_model")
    parser.add_argument("--sessions", type=int, default=100_000, help="sessions of each topology")
    options = parser.parse_args()
    if options.sessions < 1:
        parser.error("--sessions: must be at least 1")
    console, costs = Console(highlight=False, width=120), measure(options.sessions)
    show(console, costs)
    missed = [each for cost in costs for each in cost.missed()]
    for each in missed:
        console.print(f"[red]missed[/red]: {each}")
    return verdict(console, "model", {"costs": [asdict(cost) for cost in costs]}, stands=not missed)


if __name__ == "__main__":
    raise SystemExit(main())
