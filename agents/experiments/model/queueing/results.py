"""What a run of the model says: figures that go into a report, and the seconds of each request for who needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.experiments.model.queueing.hands import HandPool
from agents.experiments.model.queueing.inputs import Stretch, System
from agents.experiments.model.queueing.tally import FAILED, SERVED, Tally


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds of many requests."""

    mean: float
    variance: float
    """In seconds squared."""
    p50: float
    p95: float
    p99: float

    @staticmethod
    def of(values: NDArray[np.float64]) -> Spread | None:
        """Return the spread of *values*; None of none. Percentiles between two values are interpolated."""
        if not values.size:
            return None
        p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
        return Spread(float(values.mean()), float(values.var()), p50, p95, p99)


@dataclass(frozen=True, slots=True)
class HandFigures:
    """What the hands of one pool did in the stretch that counts."""

    name: str
    mean_replicas: float
    most_replicas: int
    busy_share: float
    """Of the places that its replicas had, those in which a tool ran."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of the stretch between the warm-up and the end of arrivals.

    Latencies are of the requests that were due in it, from when they were due; one that is under way at the end of the
    run's patience counts with its seconds until then, and a lost one not at all.
    """

    topology: str
    gpus: int
    seed: int
    seconds: float
    """Length of the stretch."""
    due: int
    served: int
    failed: int
    """Lost by faults."""
    unfinished: int
    """Under way at the end of patience. Of those due in the stretch, as the three before."""
    throughput_per_second: float
    """Turns that ended well within the stretch."""
    tokens_per_second: float
    """Written within it."""
    latency_seconds: Spread | None
    first_text_seconds: Spread | None
    mean_brain_wait_seconds: float | None
    """For a place at a GPU: of model requests, in a monolith of turns."""
    mean_hand_wait_seconds: float | None
    gpu_busy_share: float
    """Of the GPUs' time, that in which they had something to do."""
    thinking_share: float
    """Of the GPUs' places, those in which was thought."""
    held_share: float
    """Of the GPUs' places, in a monolith of the turns' slots, those that were held, thought in or not."""
    hands: tuple[HandFigures, ...]
    mean_turns: float
    """Turns under way, on average."""
    inferences: int
    tool_calls: int
    retries: int
    """Model requests and tool calls, of a monolith turns, that were tried again."""
    retry_rate: float | None
    """Of those due, those of which anything was tried again."""
    error_rate: float | None
    """Of those due, the failed and the unfinished."""
    replicas_lost: int
    mtbf_hours: float | None
    """Hours of the stretch over the failed; None when none did."""
    gpu_hours: float
    hand_hours: float
    """Hours of replicas of hands; a monolith has none."""
    events: int
    """Of the simulation, for the whole run."""

    def as_dict(self) -> dict[str, Any]:
        """Return what goes into JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of each request: arrays of shape (requests,)."""

    due: NDArray[np.float64]
    """When it began; NaN when it never did."""
    counted: NDArray[np.bool_]
    """Whether it was due in the stretch that counts."""
    served: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    retried: NDArray[np.bool_]
    """Whether anything of it was tried again."""
    latency: NDArray[np.float32]
    """Seconds from then to its end, or to the run's when it was still under way; NaN when it was lost."""
    first_text: NDArray[np.float32]
    """Seconds to its first text, likewise."""

    def of(self, seconds: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return those of *seconds*, one of the arrays here, that count and are there."""
        return seconds[self.counted & ~np.isnan(seconds)].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Run:
    """A run's figures, and arrays of shape (requests,) for who needs each request's."""

    figures: Figures
    requests: Outcomes


def run_of(
    tally: Tally,
    system: System,
    pools: Sequence[HandPool],
    due: NDArray[np.float64],
    stretch: Stretch,
    *,
    seed: int,
    events: int,
) -> Run:
    """Sum up what was tallied of requests that began when *due* says; NaN for those that never did."""
    outcomes = _outcomes(tally, due, stretch)
    counted, counts, length = outcomes.counted, tally.window, stretch.length
    due_in, failed, retried = (
        int(counted.sum()),
        int((counted & outcomes.lost).sum()),
        int((counted & outcomes.retried).sum()),
    )
    served = int((counted & outcomes.served).sum())
    places = system.gpus * system.brain.max_batch
    slots = system.gpus * system.slots if system.topology == "monolith" else places
    figures = Figures(
        topology=system.topology,
        gpus=system.gpus,
        seed=seed,
        seconds=length,
        due=due_in,
        served=served,
        failed=failed,
        unfinished=due_in - served - failed,
        throughput_per_second=counts.served / length,
        tokens_per_second=counts.tokens_out / length,
        latency_seconds=Spread.of(outcomes.of(outcomes.latency)),
        first_text_seconds=Spread.of(outcomes.of(outcomes.first_text)),
        mean_brain_wait_seconds=_over(counts.brain_wait, counts.brain_waits),
        mean_hand_wait_seconds=_over(counts.hand_wait, counts.hand_waits),
        gpu_busy_share=tally.busy_gpus.area / (length * system.gpus),
        thinking_share=tally.thinking.area / (length * places),
        held_share=tally.held.area / (length * slots),
        hands=tuple(_hand_figures(pool, length) for pool in pools),
        mean_turns=tally.turns.area / length,
        inferences=counts.inferences,
        tool_calls=counts.tool_calls,
        retries=counts.retries,
        retry_rate=_over(retried, due_in),
        error_rate=_over(due_in - served, due_in),
        replicas_lost=counts.faults,
        mtbf_hours=_over(length / 3600, failed),
        gpu_hours=system.gpus * length / 3600,
        hand_hours=sum(pool.replicas.area for pool in pools) / 3600,
        events=events,
    )
    return Run(figures, outcomes)


def _outcomes(tally: Tally, due: NDArray[np.float64], stretch: Stretch) -> Outcomes:
    latency, first = tally.seconds()
    outcome = np.frombuffer(tally.outcome, dtype=np.uint8)
    served, lost = outcome == SERVED, outcome == FAILED
    under_way = ~np.isnan(due) & ~served & ~lost
    so_far = (stretch.horizon - due).astype(np.float32)
    return Outcomes(
        due=due,
        counted=(due >= stretch.warm_up) & (due < stretch.seconds),
        served=served,
        lost=lost,
        retried=np.frombuffer(tally.retried, dtype=np.uint8) > 0,
        latency=np.where(under_way, so_far, np.where(lost, np.float32(np.nan), latency)),
        first_text=np.where(under_way & np.isnan(first), so_far, first),
    )


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _hand_figures(pool: HandPool, seconds: float) -> HandFigures:
    places = pool.replicas.area * pool.hands.concurrency
    return HandFigures(
        pool.hands.name,
        mean_replicas=pool.replicas.area / seconds,
        most_replicas=pool.replicas.highest,
        busy_share=_over(pool.running.area, places) or 0.0,
    )
