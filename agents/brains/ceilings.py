"""The ceiling over all brains: what replicas at a price may cost at most is set aside, and answers have the rest.

So nobody has to add up both while the platform runs: Serve's own bounds hold the replicas, and
``agents.brains.budgets`` the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from agents.brain_settings import BrainDefinition
from agents.config import InvalidSettings, Settings

_SETTING = "brain.ceiling_usd_per_hour"


@dataclass(frozen=True, slots=True)
class AnswersCeiling:
    """What the answers of an hour may cost, those of all these brains (by name) together."""

    micro_usd: int
    names: frozenset[str]


def answers_ceiling(settings: Settings) -> AnswersCeiling | None:
    """Return what is left for answers, None where nothing bounds them together.

    Raises InvalidSettings when replicas alone may cost more, or no brain is declared.
    """
    ceiling = settings.brain.ceiling_usd_per_hour
    if ceiling is None:
        return None
    if not settings.brains:
        raise InvalidSettings(f"{_SETTING}: declare the brains (brains:), for only what those spend is known")
    aside = _set_aside(settings)
    left = Decimal(str(ceiling)) - sum(aside.values())
    if left < 0:
        told = ", ".join(f"{name} {float(usd):g}" for name, usd in aside.items() if usd)
        raise InvalidSettings(f"{_SETTING}: {ceiling:g} is less than replicas may cost in an hour ({told})")
    names = (name for name, brain in settings.brains.items() if not all(_versions(brain).values()))
    return AnswersCeiling(int(left * 1_000_000), frozenset(names))


def _set_aside(settings: Settings) -> Mapping[str, Decimal]:
    """Return what the replicas of each brain may cost in an hour at most, USD: bursts included, and a monolith's."""
    monoliths = settings.monolith.replicas if settings.has_monolith else 0
    aside: dict[str, Decimal] = {}
    for name, brain in settings.brains.items():
        apart = Decimal(0) if settings.topology == "monolith" else _most(brain)
        aside[name] = apart + monoliths * sum(_versions(brain).values(), Decimal(0))
    return aside


def _most(brain: BrainDefinition) -> Decimal:
    most = sum((usd * brain.of(version).burst_replicas for version, usd in _versions(brain).items()), Decimal(0))
    ceiling = brain.price.ceiling_usd_per_hour
    return most if ceiling is None else min(most, Decimal(str(ceiling)))


def _versions(brain: BrainDefinition) -> Mapping[str, Decimal]:
    """Return what a replica of each version costs in an hour, USD."""
    return {version: brain.of(version).replica_usd_per_hour for version in brain.names}
