"""Total cost of ownership, line by line: the seeds' formula with what it leaves out.

    fixed brain + variable hands x number of hands + transfer x volume + observability fees, and hidden costs on top

Hidden costs are parts of the direct ones and come on top of them (not parts of the sum of both: the seeds say "added as
a % of the total"). Everything is linear in the volume, so a deployment is a line, ``CostLine``, up to its capacity.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal

from agents.economics.roi.inputs import Deployment, Scenario

_SECONDS_PER_HOUR = 3600
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Costs:
    """What a deployment costs in some time, US dollars, exact."""

    brain: Decimal
    hands: Decimal
    transfer: Decimal
    observability_fees: Decimal
    other: Decimal
    hidden_observability: Decimal
    hidden_training: Decimal
    hidden_security: Decimal
    hidden_staff: Decimal

    @property
    def direct(self) -> Decimal:
        """What there are bills for."""
        return self.brain + self.hands + self.transfer + self.observability_fees + self.other

    @property
    def total(self) -> Decimal:
        """Direct and hidden costs."""
        hidden = self.hidden_observability + self.hidden_training + self.hidden_security + self.hidden_staff
        return self.direct + hidden

    def lines(self) -> dict[str, Decimal]:
        """Return every line by its name, and the total."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True, slots=True)
class CostLine:
    """A deployment's costs as a function of the volume, in US dollars."""

    fixed: Decimal
    """A month, whatever the volume."""
    unit: Decimal
    """Each interaction."""
    capacity: Decimal | None
    """Interactions a month at most; None: any number."""

    def served(self, volume: Decimal) -> Decimal:
        """Return how many of *volume* interactions a month are served."""
        return volume if self.capacity is None else min(volume, self.capacity)


@dataclass(frozen=True, slots=True)
class Ownership:
    """A deployment over some months."""

    costs: Costs
    asked: Decimal
    """Interactions asked for."""
    served: Decimal
    """Interactions that it could serve."""
    tokens: Decimal | None
    """Tokens of those served."""

    @property
    def per_interaction(self) -> Decimal:
        """US dollars for an interaction that is served."""
        return self.costs.total / self.served

    @property
    def per_token(self) -> Decimal | None:
        """US dollars for a token, None when nobody knows how many there are."""
        return None if self.tokens is None else self.costs.total / self.tokens


def costs(scenario: Scenario, deployment: Deployment, *, hours: Decimal, volume: Decimal) -> Costs:
    """Return what *deployment* costs in *hours* hours in which it serves *volume* interactions."""
    prices = scenario.prices
    gpu_seconds = deployment.gpu_seconds_per_interaction * volume
    cpu_seconds = deployment.cpu_seconds_per_interaction * volume
    brain = (
        prices.gpu_usd_per_hour * (deployment.gpus * hours + gpu_seconds / _SECONDS_PER_HOUR)
        + deployment.brain_usd_per_month * hours / scenario.hours_per_month
        + deployment.brain_usd_per_interaction * volume
    )
    hands = (
        prices.cpu_usd_per_hour * (deployment.hands * hours + cpu_seconds / _SECONDS_PER_HOUR)
        + deployment.hand_usd_per_interaction * volume
    )
    by_size = prices.transfer_usd_per_gb * deployment.gb_per_interaction
    transfer = (prices.transfer_usd_per_interaction + by_size) * volume
    fees = prices.observability_usd_per_month * hours / scenario.hours_per_month
    other = deployment.other_usd_per_month * hours / scenario.hours_per_month
    hidden = deployment.hidden or scenario.hidden
    direct = brain + hands + transfer + fees + other
    shares = (direct * share for share in (hidden.observability, hidden.training, hidden.security, hidden.staff))
    return Costs(brain, hands, transfer, fees, other, *shares)


def cost_line(scenario: Scenario, deployment: Deployment) -> CostLine:
    """Return the line on which the monthly costs of *deployment* lie."""
    hours = scenario.hours_per_month
    fixed = costs(scenario, deployment, hours=hours, volume=Decimal(0)).total
    unit = costs(scenario, deployment, hours=Decimal(0), volume=Decimal(1)).total
    limits = [
        limit * count * hours
        for limit, count in (
            (deployment.brain_interactions_per_hour, Decimal(1)),
            (deployment.hand_interactions_per_hour, deployment.hands),
        )
        if limit is not None
    ]
    return CostLine(fixed, unit, min(limits, default=None))


def ownership(scenario: Scenario, deployment: Deployment, months: int = 1) -> Ownership:
    """Return what *deployment* costs in the first *months* months together, not discounted."""
    line = cost_line(scenario, deployment)
    growth = 1 + scenario.growth_per_month
    volumes = [scenario.interactions_per_month * growth**month for month in range(months)]
    served = sum((line.served(volume) for volume in volumes), Decimal(0))
    spent = costs(scenario, deployment, hours=scenario.hours_per_month * months, volume=served)
    each = scenario.tokens_per_interaction
    return Ownership(spent, sum(volumes, Decimal(0)), served, None if each is None else each * served)


def cents(amount: Decimal) -> Decimal:
    """Return an amount in whole cents, half a cent away from nothing."""
    return amount.quantize(_CENT, ROUND_HALF_UP)


def reduction(before: Decimal, after: Decimal) -> Decimal:
    """Return by what part of itself *before* became less; negative when it grew."""
    return (before - after) / before
