"""Each topology held against the baseline, pair by pair.

Times and metered costs are compared request by request: the same request of the same round. Those of one round wait in
the same queues, so they are not quite independent, and intervals from them are somewhat too narrow; therefore rounds,
which are independent, are compared by their quantiles as well. So is what only a round has, as its throughput. Rounds
are few, and every further comparison costs power, so they are compared for all workloads together only.

P values are corrected (Holm) within a measure, over all loads, workloads and topologies that it was looked at for: each
measure is one question, asked that many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from agents.experiments.trace_samples import Cell, SessionSamples
from agents.statistics.estimates import Estimate, bootstrap
from agents.statistics.families import holm
from agents.statistics.paired import PairedComparison, compare_pairs
from agents.statistics.samples import Floats
from agents.statistics.verdicts import Better, Verdict, confirmed, deciding_p, verdict

PairsOf = Literal["requests", "rounds"]
Statistic = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of one topology against the baseline."""

    measure: str
    """Its unit is in its name."""
    better: Better
    pairs_of: PairsOf
    topology: str
    baseline: str
    workload: str
    arrivals: str
    load: float | None
    """None for what is measured over all loads, as throughput at the goal."""
    unpaired: int
    """Requests or rounds left out, for one side had no value: it ended in an error, say."""
    paired: PairedComparison
    ratios: Mapping[str, Estimate] = field(default_factory=lambda: {})
    """Candidate over baseline: quantiles and variance, with bootstrap intervals."""
    p_holm: float | None = None
    """The deciding p value (the t-test's, as a rule), corrected."""
    wilcoxon_p_holm: float | None = None
    verdict: Verdict = Verdict.TOO_FEW
    confirmed: bool | None = None
    """Whether the signed-rank test agrees; None when it has too few pairs for that."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What can be compared, and which way it is better."""

    name: str
    better: Better


@dataclass(frozen=True, slots=True)
class _OfRequests:
    measure: Measure
    values: Callable[[SessionSamples], Floats]
    """NaN for what has none."""
    statistics: Mapping[str, Statistic]


ROUND_MEASURES = (
    Measure("completed_per_second", "higher"),
    Measure("served_per_second", "higher"),
    Measure("error_rate", "lower"),
    Measure("retry_rate", "lower"),
    Measure("failures_per_hour", "lower"),
    Measure("output_tokens_per_second", "higher"),
    Measure("gpu_utilisation", "neither"),
    Measure("hand_utilisation", "neither"),
    Measure("usd_per_session", "lower"),
    Measure("usd_per_token", "lower"),
)
TIME_MEASURES = (
    Measure("latency_p50_seconds", "lower"),
    Measure("latency_p95_seconds", "lower"),
    Measure("ttft_p50_seconds", "lower"),
    Measure("ttft_p95_seconds", "lower"),
)
GOAL_MEASURES = (
    Measure("served_per_second", "higher"),
    Measure("usd_per_session", "lower"),
    Measure("usd_per_token", "lower"),
)


def _ratio_of_quantiles(share: float) -> Statistic:
    def ratio(below: Floats, above: Floats, axis: int) -> Any:
        return np.quantile(above, share, axis=axis) / np.quantile(below, share, axis=axis)

    return ratio


def _ratio_of_variances(below: Floats, above: Floats, axis: int) -> Any:
    return above.var(axis=axis) / below.var(axis=axis)


_QUANTILES = {"p50": _ratio_of_quantiles(0.50), "p95": _ratio_of_quantiles(0.95)}
_REQUEST_MEASURES = (
    _OfRequests(
        Measure("latency_seconds", "lower"),
        lambda samples: samples.latency_seconds,
        {**_QUANTILES, "p99": _ratio_of_quantiles(0.99), "variance": _ratio_of_variances},
    ),
    _OfRequests(Measure("ttft_seconds", "lower"), lambda samples: samples.ttft_seconds, _QUANTILES),
    _OfRequests(
        Measure("metered_usd_per_session", "lower"),
        lambda samples: np.where(samples.ok, samples.metered_usd, np.nan),
        {},
    ),
)


def of_requests(cell: Cell, candidate: SessionSamples, name: str, baseline: SessionSamples) -> Iterable[Comparison]:
    """Yield the comparisons of *cell*'s requests with those of the baseline called *name*, not yet judged."""
    places, above_at, below_at = np.intersect1d(
        candidate.places, baseline.places, assume_unique=True, return_indices=True
    )
    in_either = candidate.places.size + baseline.places.size - places.size
    for each in _REQUEST_MEASURES:
        above, below = each.values(candidate)[above_at], each.values(baseline)[below_at]
        both = np.isfinite(above) & np.isfinite(below)
        above, below = above[both], below[both]
        # What the price book has no price for costs nought everywhere, and is no finding.
        if not above.any() and not below.any():
            continue
        yield Comparison(
            measure=each.measure.name,
            better=each.measure.better,
            pairs_of="requests",
            topology=cell.topology,
            baseline=name,
            workload=cell.workload,
            arrivals=cell.arrivals,
            load=cell.load,
            unpaired=in_either - int(both.sum()),
            paired=compare_pairs(below, above),
            ratios={key: bootstrap(statistic, [below, above]) for key, statistic in each.statistics.items()}
            if above.size > 1
            else {},
        )


def of_rounds(
    cell: Cell,
    candidate: Mapping[int, object],
    name: str,
    baseline: Mapping[int, object],
    measures: Iterable[Measure],
) -> Iterable[Comparison]:
    """Yield the comparisons of *cell*'s rounds with the baseline's, not yet judged; values have a field per measure."""
    for measure in measures:
        pairs = [
            (getattr(baseline[number], measure.name), getattr(candidate[number], measure.name))
            for number in sorted(candidate.keys() & baseline.keys())
        ]
        known = [(below, above) for below, above in pairs if below is not None and above is not None]
        if not known:
            continue
        yield Comparison(
            measure=measure.name,
            better=measure.better,
            pairs_of="rounds",
            topology=cell.topology,
            baseline=name,
            workload=cell.workload,
            arrivals=cell.arrivals,
            load=cell.load,
            unpaired=len(candidate.keys() | baseline.keys()) - len(known),
            paired=compare_pairs(*zip(*known, strict=True)),
        )


def judged(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return *comparisons* with corrected p values and verdicts, each measure a family of its own."""
    families: dict[str, list[int]] = {}
    for place, each in enumerate(comparisons):
        families.setdefault(each.measure, []).append(place)
    found = list(comparisons)
    for members in families.values():
        decisive = holm([deciding_p(found[place].paired) for place in members])
        ranked = holm([found[place].paired.wilcoxon_p for place in members])
        for place, p, wilcoxon_p in zip(members, decisive, ranked, strict=True):
            each = found[place]
            found[place] = replace(
                each,
                p_holm=p,
                wilcoxon_p_holm=wilcoxon_p,
                verdict=verdict(each.paired, p, each.better),
                confirmed=confirmed(each.paired, wilcoxon_p),
            )
    return found
