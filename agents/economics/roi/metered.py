"""A scenario with what a running platform's meters say in the place of its assumptions.

The scenario says what is fixed, the meters say what varies: a deployment that has a brain at a fixed price, or hands
that run all the time, keeps them, and is not charged for the same thing by the interaction as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from agents.economics.roi.inputs import Deployment, Scenario, scenario_of
from agents.errors import InvalidRequest

_BYTES_PER_GB = 10**9
_CENTS_PER_USD = 100
_MICRO = 10**6
_PLACES = Decimal("1e-12")

Side = Literal["monolith", "decoupled"]


@dataclass(frozen=True, slots=True)
class MeteredUse:
    """What a platform did in some time."""

    hours: Decimal
    """Length of that time."""
    sessions: int
    """Sessions that began in it; one is one interaction."""
    tokens: int
    """Theirs, read (from the cache, too) and written."""
    list_cents: int
    """Their list cost in US cents: tokens, web searches, hours of running."""
    cpu_us: int
    """CPU microseconds of their calls to hands."""
    moved_bytes: int
    """Bytes that these calls took and gave."""
    provider_micro_usd: int
    """Millionths of US dollars of these calls' prices that are their providers'."""


def with_meters(scenario: Scenario, used: MeteredUse, side: Side) -> Scenario:
    """Return *scenario* with the meters of a platform that is its *side*.

    Raises InvalidRequest when there was no session, or the scenario can not be held together with these figures.
    """
    if used.sessions == 0:
        raise InvalidRequest("no session began in that time: nothing is known of an interaction (--since, --until)")
    deployment = scenario.monolith if side == "monolith" else scenario.decoupled
    update: dict[str, Any] = {
        "source": f"{scenario.source} {_told(used, side)}".strip(),
        "interactions_per_month": _part(used.sessions * scenario.hours_per_month, used.hours),
        "tokens_per_interaction": _each(used.tokens, used) or None,
        side: deployment.model_copy(update=_metered(deployment, used)),
    }
    return scenario_of(scenario.model_copy(update=update).model_dump(), f"{scenario.name} with meters")


def _metered(deployment: Deployment, used: MeteredUse) -> dict[str, Decimal]:
    update = {
        "gb_per_interaction": _each(used.moved_bytes, used, _BYTES_PER_GB),
        "hand_usd_per_interaction": _each(used.provider_micro_usd, used, _MICRO),
    }
    if not (deployment.gpus or deployment.gpu_seconds_per_interaction or deployment.brain_usd_per_month):
        update["brain_usd_per_interaction"] = _each(used.list_cents, used, _CENTS_PER_USD)
    if not deployment.hands:
        update["cpu_seconds_per_interaction"] = _each(used.cpu_us, used, _MICRO)
    return update


def _told(used: MeteredUse, side: Side) -> str:
    return f"Meters of the {side}: {used.sessions} sessions in {used.hours:.1f} hours."


def _each(amount: int, used: MeteredUse, unit: int = 1) -> Decimal:
    return _part(Decimal(amount), Decimal(used.sessions * unit))


def _part(amount: Decimal, of: Decimal) -> Decimal:
    # Plus nothing: without an exponent.
    return (amount / of).quantize(_PLACES).normalize() + 0
