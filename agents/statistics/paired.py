"""Two ways to do the same things, held against each other pair by pair.

What a pair has in common (the request, the machine's mood) falls out of its difference, so far fewer pairs are needed
than with two independent samples. The t-test looks at the mean difference; latencies are skewed, so the signed-rank
test looks as well, which asks only that differences be symmetric about nought when nothing differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agents.statistics.estimates import Estimate, mean
from agents.statistics.samples import Floats, Values, pairs
from agents.statistics.scipy_stats import stats

_ALIKE = 1e-12
"""Differences that vary by less, of the values they are differences of, vary by rounding only."""


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """What the pairs say, candidate minus (or over) baseline; None where the data have no answer to give."""

    pairs: int
    baseline_mean: float
    candidate_mean: float
    difference: Estimate
    """Mean difference, with its t interval."""
    ratio: Estimate | None
    """Geometric mean of the pairs' ratios, with the t interval of its logarithm; None unless all are positive."""
    t: float | None
    """Student's t of the differences, with pairs - 1 degrees of freedom; None when they do not vary."""
    t_p: float | None
    """Two-sided."""
    wilcoxon_w: float | None
    """The smaller sum of ranks, pairs that do not differ left out."""
    wilcoxon_p: float | None
    """Two-sided; exact for few pairs."""
    cohens_dz: float | None
    """Mean difference in standard deviations of the differences (Cohen 1988, section 2.3.5)."""
    rank_biserial: float | None
    """From -1, every pair is less, to 1, every pair is more (Kerby 2014)."""


def compare_pairs(baseline: Values, candidate: Values) -> PairedComparison:
    """Compare two samples, of which equal places are pairs. Raises InvalidRequest naming what is wrong with them."""
    below, above = pairs(baseline, candidate)
    differences = above - below
    t_test = None if _alike(differences, below, above) else stats().ttest_rel(above, below)
    sum_of_ranks, wilcoxon_p = _signed_rank(differences)
    return PairedComparison(
        pairs=below.size,
        baseline_mean=float(below.mean()),
        candidate_mean=float(above.mean()),
        difference=mean(differences),
        ratio=_ratio(below, above),
        t=None if t_test is None else float(t_test.statistic),
        t_p=None if t_test is None else float(t_test.pvalue),
        wilcoxon_w=sum_of_ranks,
        wilcoxon_p=wilcoxon_p,
        cohens_dz=None if t_test is None else float(differences.mean() / differences.std(ddof=1)),
        rank_biserial=_rank_biserial(differences),
    )


def _alike(differences: Floats, below: Floats, above: Floats) -> bool:
    """Whether differences do not vary, so that a t-test would divide by nought; a single one never does."""
    largest = max(float(np.abs(below).max()), float(np.abs(above).max()))
    return float(np.ptp(differences)) <= _ALIKE * largest


def _ratio(below: Floats, above: Floats) -> Estimate | None:
    if below.min() <= 0 or above.min() <= 0:
        return None
    estimate = mean(np.log(above) - np.log(below))
    low, high = (None if end is None else math.exp(end) for end in (estimate.low, estimate.high))
    return Estimate(math.exp(estimate.value), low, high)


def _signed_rank(differences: Floats) -> tuple[float | None, float | None]:
    if differences.size < 2:
        return None, None
    if not differences.any():
        return None, 1.0
    result = stats().wilcoxon(differences)
    return float(result.statistic), float(result.pvalue)


def _rank_biserial(differences: Floats) -> float | None:
    """Share of ranks in favour minus share against (Kerby, The Simple Difference Formula, Compr. Psychol. 3, 2014)."""
    moved = differences[differences != 0]
    if differences.size < 2:
        return None
    if not moved.size:
        return 0.0
    ranks = stats().rankdata(np.abs(moved))
    return float((ranks * np.sign(moved)).sum() / ranks.sum())
