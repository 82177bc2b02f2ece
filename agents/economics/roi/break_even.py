"""The volume at which the decoupled platform becomes cheaper than the monolith.

Both cost ``fixed + unit x volume`` a month, so the lines cross once at most, at

    (decoupled fixed - monolith fixed) / (monolith unit - decoupled unit)

interactions a month. The cost of the migration can be spread over the horizon's months (not discounted): then it is the
volume from which the change has paid for itself at its end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal

from agents.economics.roi.inputs import Scenario
from agents.economics.roi.ownership import CostLine, cost_line

When = Literal["always", "never", "from", "up to"]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """At which volumes the decoupled platform is the cheaper one."""

    when: When
    interactions_per_month: int | None
    """The first (``from``) or last (``up to``) whole number of them; None for ``always`` and ``never``."""
    within_capacity: bool
    """Whether both deployments can serve that many."""


def break_even(scenario: Scenario, *, with_migration: bool = False) -> BreakEven:
    """Compare running costs; *with_migration*, a part of the migration's cost is added to each month's."""
    extra = scenario.migration_usd / scenario.horizon_months if with_migration else Decimal(0)
    decoupled = cost_line(scenario, scenario.decoupled)
    return crossing(cost_line(scenario, scenario.monolith), replace(decoupled, fixed=decoupled.fixed + extra))


def crossing(monolith: CostLine, decoupled: CostLine) -> BreakEven:
    """Return where *decoupled* costs less than *monolith*, or as much after it cost more."""
    more_fixed = decoupled.fixed - monolith.fixed
    less_unit = monolith.unit - decoupled.unit
    if less_unit == 0:
        return BreakEven("always" if more_fixed < 0 else "never", None, True)
    volume = more_fixed / less_unit
    if volume <= 0:
        return BreakEven("always" if less_unit > 0 else "never", None, True)
    when, rounding = ("from", ROUND_CEILING) if less_unit > 0 else ("up to", ROUND_FLOOR)
    whole = int(volume.to_integral_value(rounding))
    return BreakEven(when, whole, all(line.served(Decimal(whole)) == whole for line in (monolith, decoupled)))
