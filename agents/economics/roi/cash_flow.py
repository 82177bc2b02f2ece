"""What going from the monolith to the decoupled platform is worth: flows, net present value, rate of return, payback.

A flow is a sequence of US dollars, one a month: first what is paid before the first month (negative), then what each
month brings more, or costs less, than the monolith would; months count at their end. From here on amounts are floats:
discounting has roots and powers, and nothing that comes of it is exact to the cent.

Source: Brealey, Myers and Allen, *Principles of Corporate Finance*, chapters 2 (present value) and 5 (payback, internal
rate of return and its pitfalls).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agents.economics.roi.inputs import Deployment, Scenario
from agents.economics.roi.ownership import cost_line
from agents.extras import extra

Floats = npt.NDArray[np.float64]

_MONTHS_PER_YEAR = 12


class Terms(NamedTuple):
    """A scenario as far as its flow depends on it: US dollars and interactions, a month's unless it says otherwise."""

    volume: float
    growth: float
    benefit: float
    """Of an interaction that is served."""
    migration: float
    """Once."""
    monolith_fixed: float
    monolith_unit: float
    monolith_capacity: float
    decoupled_fixed: float
    decoupled_unit: float
    decoupled_capacity: float


@dataclass(frozen=True, slots=True)
class Return:
    """What an investment brings back."""

    flow: list[float]
    """US dollars, the migration first, then each month."""
    npv_usd: float
    irr_per_year: float | None
    """As a part; None when the flow has no rate, or not only one."""
    payback_months: float | None
    """None: not within the horizon."""
    discounted_payback_months: float | None
    roi: float | None
    """Gain over the horizon beyond the migration's cost, as a multiple of it, not discounted; None when it costs
    nothing."""


def terms_of(scenario: Scenario) -> Terms:
    """Reduce *scenario* to what its flow depends on."""
    return Terms(
        float(scenario.interactions_per_month),
        float(scenario.growth_per_month),
        float(scenario.benefit_usd_per_interaction),
        float(scenario.migration_usd),
        *_line(scenario, scenario.monolith),
        *_line(scenario, scenario.decoupled),
    )


def flows(terms: Sequence[Terms], months: int) -> Floats:
    """Return the flow of each of *terms* over *months* as a row: US dollars, of shape (terms, 1 + months)."""
    columns = np.array(terms, dtype=np.float64).T[:, :, np.newaxis]
    volume, growth, benefit, migration, *deployments = columns
    asked = volume * (1 + growth) ** np.arange(months)
    monolith, decoupled = (
        np.minimum(asked, capacity) * (benefit - unit) - fixed
        for fixed, unit, capacity in (deployments[:3], deployments[3:])
    )
    return np.hstack([-migration, decoupled - monolith])


def monthly_rate(per_year: float) -> float:
    """Return the rate of a month that compounds to *per_year* in a year; both as parts."""
    return (1 + per_year) ** (1 / _MONTHS_PER_YEAR) - 1


def net_present_value(rate: float, flow: Sequence[float] | Floats) -> float:
    """Return what *flow* is worth when it begins, in its own unit, at *rate* per period of the flow."""
    return float(extra("numpy_financial", "present values are numpy-financial's work").npv(rate, flow))


def rate_of_return(flow: Sequence[float] | Floats) -> float | None:
    """Return the rate per period of *flow* at which it is worth nothing.

    None unless the flow changes its sign exactly once: then there is one such rate above -1, else none or several
    (Descartes' rule of signs). Found by Brent's method: numpy-financial takes all roots of the polynomial instead, and
    has them wrong where a flow that grows has hundreds of periods.
    """
    values = np.trim_zeros(np.asarray(flow, dtype=np.float64))
    signs = np.sign(values[values != 0])
    if np.count_nonzero(signs[1:] != signs[:-1]) != 1:
        return None
    periods = np.arange(values.size)

    def worth(factor: float) -> float:
        # Above 1 seen from the flow's end, whose sign is the same: powers may not overflow.
        return float(np.sum(values * factor ** (periods - (periods[-1] if factor > 1 else 0))))

    low = high = 1.0
    while worth(low) * signs[0] < 0:
        low /= 2
    while worth(high) * signs[0] > 0:
        high *= 2
    optimize = extra("scipy.optimize", "rates of return are SciPy's work")
    return 1 / float(optimize.brentq(worth, low, high, xtol=1e-15)) - 1


def payback(flow: Sequence[float] | Floats) -> float | None:
    """Return the periods after which *flow* has paid back what was put in, for good; within a period it comes evenly.

    0 when nothing was ever owed, None when it is not paid back by the flow's end.
    """
    balance = np.cumsum(np.asarray(flow, dtype=np.float64))
    owing = np.flatnonzero(balance < 0)
    if owing.size == 0:
        return 0.0
    last = int(owing[-1])
    if last == balance.size - 1:
        return None
    return last + float(-balance[last] / (balance[last + 1] - balance[last]))


def discounted(rate: float, flow: Sequence[float] | Floats) -> Floats:
    """Return each period of *flow* at its present value."""
    values = np.asarray(flow, dtype=np.float64)
    return values / (1 + rate) ** np.arange(values.size)


def returns(scenario: Scenario) -> Return:
    """Return what the migration of *scenario* brings back within its horizon."""
    flow = flows([terms_of(scenario)], scenario.horizon_months)[0]
    rate = monthly_rate(float(scenario.discount_rate_per_year))
    monthly = rate_of_return(flow)
    return Return(
        flow=flow.tolist(),
        npv_usd=net_present_value(rate, flow),
        irr_per_year=None if monthly is None else (1 + monthly) ** _MONTHS_PER_YEAR - 1,
        payback_months=payback(flow),
        discounted_payback_months=payback(discounted(rate, flow)),
        roi=None if flow[0] == 0 else float(flow.sum() / -flow[0]),
    )


def benefit_for(roi: Decimal, investment: Decimal) -> Decimal:
    """Return what an investment must bring in, before its own cost, for a return of *roi* times itself beyond it."""
    return investment * (1 + roi)


def _line(scenario: Scenario, deployment: Deployment) -> tuple[float, float, float]:
    line = cost_line(scenario, deployment)
    return float(line.fixed), float(line.unit), float("inf") if line.capacity is None else float(line.capacity)
