"""Figures of the sessions that met one load on one topology, with their units in their names.

Rates are of the window behind the warm-up. Throughput counts what ended in it, whenever it arrived: to count only what
also arrived in it would take the more from a topology the slower it is. Everything else is of the sessions that were
due in it. What a round cost is shared by all sessions of the round, so it is told of all workloads together only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from agents.experiments.figures_of_rounds import RoundFigures, gpu_seconds
from agents.experiments.trace_samples import SessionSamples, WorkDone
from agents.statistics.estimates import Estimate, mean, quantile
from agents.statistics.samples import Floats

FiguresByRound = Mapping[int, RoundFigures]
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What one or more rounds came to; None where nothing was there to count, or no figures of the round were kept."""

    window_seconds: float
    """Of all rounds together, warm-ups left out."""
    sessions: int
    """That were due in it."""
    failed: int
    """Ended in an error, or not at all."""
    unfinished: int
    completed_per_second: float
    """Sessions that ended well."""
    served_per_second: float
    """Sessions that met their workload's goal."""
    served_share: float | None
    error_rate: float | None
    """Failed sessions, of all."""
    retry_rate: float | None
    """Sessions of which anything was tried again, of all."""
    failures_per_hour: float
    mtbf_hours: float | None
    """Mean time between failed sessions: the window over their number; None when none failed."""
    tokens_per_second: float
    """Read and written, by inferences that ended well."""
    output_tokens_per_second: float
    gpu_utilisation: float | None
    """Busy time of the GPUs held, of all of it, in the rounds whose brains say how long their GPUs worked."""
    hand_utilisation: float | None
    """Busy time of the hands' CPU slots held, of all of it."""
    usd_per_session: float | None
    """Price of what was held, over the sessions that ended well in that time."""
    usd_per_token: float | None
    """The same, over tokens read and written."""
    usd_per_output_token: float | None


@dataclass(frozen=True, slots=True)
class RoundTimes:
    """Quantiles of one round's latencies, which rounds are compared by; None where no session had one."""

    latency_p50_seconds: float | None
    latency_p95_seconds: float | None
    ttft_p50_seconds: float | None
    ttft_p95_seconds: float | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Where the values of a sample lie; values and their interval in seconds."""

    count: int
    mean: Estimate
    p50: Estimate
    p95: Estimate
    p99: Estimate
    variance_seconds2: float | None
    coefficient_of_variation: float | None
    """Standard deviation over mean: variance in a form that two topologies can be compared by."""


def rates(samples: SessionSamples, rounds: Collection[int], window_seconds: float, figures: FiguresByRound) -> Rates:
    """Return the rates of some *rounds*, each with a window of *window_seconds*."""
    window = window_seconds * len(rounds)
    chosen = np.isin(samples.rounds, np.array(sorted(rounds), dtype=np.int64))
    sessions = int(chosen.sum())
    failed = int((chosen & ~samples.ok).sum())
    served = int((chosen & samples.served).sum())
    retried = int((chosen & samples.retried).sum())
    done = [samples.done.get(number, WorkDone()) for number in rounds]
    completed = sum(each.sessions for each in done) / window
    output_tokens = sum(each.tokens_out for each in done) / window
    tokens = output_tokens + sum(each.tokens_in for each in done) / window
    held = [figures[number] for number in rounds if number in figures]
    # A price is comparable with the rates of the window as a rate itself, whatever stretch it was kept for.
    usd_per_second = _over(sum(each.usd for each in held), sum(each.seconds for each in held))
    return Rates(
        window_seconds=window,
        sessions=sessions,
        failed=failed,
        unfinished=int((chosen & samples.unfinished).sum()),
        completed_per_second=completed,
        served_per_second=served / window,
        served_share=_over(served, sessions),
        error_rate=_over(failed, sessions),
        retry_rate=_over(retried, sessions),
        failures_per_hour=failed / window * _HOUR,
        mtbf_hours=_over(window / _HOUR, failed),
        tokens_per_second=tokens,
        output_tokens_per_second=output_tokens,
        gpu_utilisation=_over(*gpu_seconds(held)),
        hand_utilisation=_over(
            sum(each.hand_busy_seconds for each in held), sum(each.hands * each.seconds for each in held)
        ),
        usd_per_session=_over(usd_per_second, completed),
        usd_per_token=_over(usd_per_second, tokens),
        usd_per_output_token=_over(usd_per_second, output_tokens),
    )


def round_times(samples: SessionSamples, number: int) -> RoundTimes:
    """Return the quantiles of round *number*."""
    of_round = samples.rounds == number
    latency, ttft = samples.latency_seconds[of_round], samples.ttft_seconds[of_round]
    return RoundTimes(
        latency_p50_seconds=_quantile(latency, 0.50),
        latency_p95_seconds=_quantile(latency, 0.95),
        ttft_p50_seconds=_quantile(ttft, 0.50),
        ttft_p95_seconds=_quantile(ttft, 0.95),
    )


def _quantile(seconds: Floats, share: float) -> float | None:
    values = seconds[np.isfinite(seconds)]
    return float(np.quantile(values, share)) if values.size else None


def distribution(seconds: Floats) -> Distribution | None:
    """Return where *seconds* lie, NaN left out; None when nothing is left."""
    values = seconds[np.isfinite(seconds)]
    if not values.size:
        return None
    middle = mean(values)
    variance = float(values.var(ddof=1)) if values.size > 1 else None
    return Distribution(
        count=int(values.size),
        mean=middle,
        p50=quantile(values, 0.50),
        p95=quantile(values, 0.95),
        p99=quantile(values, 0.99),
        variance_seconds2=variance,
        coefficient_of_variation=None if variance is None else _over(variance**0.5, middle.value),
    )


def _over(above: float | None, below: float) -> float | None:
    return above / below if above is not None and below else None
