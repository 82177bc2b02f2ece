"""What each input does to the net present value: one at a time (tornado), and hands against brain (two-way grid)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from agents.economics.roi.cash_flow import returns
from agents.economics.roi.distributions import frozen
from agents.economics.roi.inputs import Scenario
from agents.economics.roi.ownership import ownership
from agents.economics.roi.paths import numbers_of, with_numbers

_P5, _P95 = 0.05, 0.95


@dataclass(frozen=True, slots=True)
class Bar:
    """One input of the tornado: its values, in its own unit, and the net present values (US dollars) they lead to."""

    path: str
    low: Decimal
    high: Decimal
    npv_at_low: float
    npv_at_high: float

    @property
    def width(self) -> float:
        """How much the input moves the net present value, US dollars."""
        return abs(self.npv_at_high - self.npv_at_low)


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the grid."""

    hand_parallelism: Decimal
    """Multiple of the decoupled hands that run all the time."""
    brain_scale: Decimal
    """Multiple of the decoupled brain's fixed part, and of what it can serve."""
    npv_usd: float
    usd_per_interaction: Decimal
    """Over the horizon."""
    served: Decimal
    """Part of the interactions asked for that is served, over the horizon."""


def tornado(scenario: Scenario) -> list[Bar]:
    """Return a bar for each input that is not 0, the one that does most first; those that do nothing are left out."""
    bars = [_bar(scenario, path, value) for path, value in numbers_of(scenario).items() if value]
    return sorted((bar for bar in bars if bar.width), key=lambda bar: bar.width, reverse=True)


def grid(scenario: Scenario) -> list[list[Cell]]:
    """Return cells by brain scale (rows) and hand parallelism (columns), in the order of ``scenario.sensitivity``."""
    turned = scenario.sensitivity
    return [[_cell(scenario, hands, brain) for hands in turned.hand_parallelism] for brain in turned.brain_scale]


def scaled(scenario: Scenario, *, hands: Decimal, brain: Decimal) -> Scenario:
    """Return *scenario* with so many times the decoupled hands, and so many times the fixed part of its brain.

    What is paid by the interaction stays: it follows the volume by itself.
    """
    numbers = numbers_of(scenario)
    factors = {
        "decoupled.hands": hands,
        "decoupled.gpus": brain,
        "decoupled.brain_usd_per_month": brain,
        "decoupled.brain_interactions_per_hour": brain,
    }
    return with_numbers(scenario, {path: numbers[path] * by for path, by in factors.items() if path in numbers})


def _cell(scenario: Scenario, hands: Decimal, brain: Decimal) -> Cell:
    tried = scaled(scenario, hands=hands, brain=brain)
    owned = ownership(tried, tried.decoupled, tried.horizon_months)
    return Cell(hands, brain, returns(tried).npv_usd, owned.per_interaction, owned.served / owned.asked)


def _bar(scenario: Scenario, path: str, value: Decimal) -> Bar:
    low, high = (value * factor for factor in _factors(scenario, path))
    npvs = (returns(with_numbers(scenario, {path: each})).npv_usd for each in (low, high))
    return Bar(path, low, high, *npvs)


def _factors(scenario: Scenario, path: str) -> Sequence[Decimal]:
    if (given := scenario.risk.factors.get(path)) is not None:
        return [Decimal(float(frozen(given).ppf(part))) for part in (_P5, _P95)]
    return [1 - scenario.sensitivity.swing, 1 + scenario.sensitivity.swing]
