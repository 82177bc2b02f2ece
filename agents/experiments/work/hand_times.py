"""How long the systems behind an experiment's hands take: drawn from the call, so the same in every topology."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from statistics import NormalDist

from agents.experiments.plan import HandTime

_MEDIAN, _SIGMA = "EXPERIMENT_HAND_SECONDS", "EXPERIMENT_HAND_SIGMA"


def to_variables(times: HandTime) -> dict[str, str]:
    """Return the environment of a hand whose backend takes so long."""
    return {_MEDIAN: f"{times.median_seconds:g}", _SIGMA: f"{times.sigma:g}"}


def from_variables(environment: Mapping[str, str]) -> HandTime:
    """Return what an environment says; no time when it says nothing."""
    return HandTime(median_seconds=float(environment.get(_MEDIAN, "0")), sigma=float(environment.get(_SIGMA, "0")))


def call_seconds(times: HandTime, tool: str, arguments: object) -> float:
    """Return how long the system behind a tool takes for a call: log-normal, drawn from the call itself."""
    text = json.dumps([tool, arguments], sort_keys=True)
    drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
    # The middle of one of 2**48 equal parts: never 0 or 1, which have no quantile.
    return times.median_seconds * math.exp(times.sigma * NormalDist().inv_cdf((drawn + 0.5) / 2**48))
