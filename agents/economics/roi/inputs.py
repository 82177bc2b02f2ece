"""The scenario file: everything that the money is worked out from, each with its unit.

A month has ``hours_per_month`` hours; an interaction is what a customer asks for once, with all its model requests and
tool calls (on this platform a session).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from agents.economics.roi.distributions import Distribution
from agents.economics.roi.paths import numbers_of
from agents.errors import InvalidRequest
from agents.settings_base import KeyName, Section, as_mapping

BUILT_IN = Path(__file__).with_name("scenarios")

Usd = Annotated[Decimal, Field(ge=0, le=10**12)]
Amount = Annotated[Decimal, Field(ge=0, le=10**15)]
Positive = Annotated[Decimal, Field(gt=0, le=10**15)]
Share = Annotated[Decimal, Field(ge=0, le=10)]
"""A part of a whole: 0.05 is five per cent."""
Scale = Annotated[Decimal, Field(gt=0, le=1000)]


class PriceList(Section):
    """What is paid for, and how much; the same for both deployments."""

    gpu_usd_per_hour: Usd = Decimal("2.50")
    """US dollars for an hour of a GPU instance."""
    cpu_usd_per_hour: Usd = Decimal("0.05")
    """US dollars for an hour of a CPU container: of a hand."""
    transfer_usd_per_interaction: Usd = Decimal(0)
    """US dollars for the data that an interaction moves, where it is priced by interaction."""
    transfer_usd_per_gb: Usd = Decimal(0)
    """US dollars for a gigabyte moved, where it is priced by size; both may be."""
    observability_usd_per_month: Usd = Decimal(0)
    """US dollars a month for traces, logs and dashboards, as a fee."""


class HiddenCosts(Section):
    """Costs that no bill of the platform shows, as parts of the sum of those that one does."""

    observability: Share = Decimal("0.05")
    """Part of the direct costs that goes into monitoring beyond its fee."""
    training: Share = Decimal("0.03")
    """Part of the direct costs that goes into training of staff."""
    security: Share = Decimal(0)
    """Part of the direct costs that goes into security: every hand is an endpoint more."""
    staff: Share = Decimal(0)
    """Part of the direct costs that goes into operating it."""


class Deployment(Section):
    """What one way of running the agents takes. Everything is 0 unless said, and nothing is limited."""

    gpus: Amount = Decimal(0)
    """GPU instances that run all the time, whatever the volume."""
    gpu_seconds_per_interaction: Amount = Decimal(0)
    """Seconds of a GPU that are paid for each interaction, idle ones included, where GPUs come and go with the load."""
    brain_usd_per_month: Usd = Decimal(0)
    """US dollars a month for a brain at a fixed price."""
    brain_usd_per_interaction: Usd = Decimal(0)
    """US dollars for the tokens of an interaction, where a model is paid by its use."""
    hands: Amount = Decimal(0)
    """CPU containers that run all the time: how much the hands can do at a time."""
    cpu_seconds_per_interaction: Amount = Decimal(0)
    """Seconds of a CPU container that are paid for each interaction, where hands come and go with the load."""
    hand_usd_per_interaction: Usd = Decimal(0)
    """US dollars that an interaction's calls bring to other providers of hands."""
    gb_per_interaction: Amount = Decimal(0)
    """Gigabytes (10^9 bytes) that an interaction moves."""
    other_usd_per_month: Usd = Decimal(0)
    """US dollars a month for what none of the above explains."""
    hidden: HiddenCosts | None = None
    """Hidden costs of this deployment; the scenario's when unset."""
    brain_interactions_per_hour: Positive | None = None
    """Interactions an hour that the whole brain can serve; as many as there are when unset."""
    hand_interactions_per_hour: Positive | None = None
    """Interactions an hour that one of ``hands`` can serve; as many as there are when unset."""

    @model_validator(mode="after")
    def _has_hands(self) -> Self:
        if self.hand_interactions_per_hour is not None and self.hands == 0:
            raise ValueError("hand_interactions_per_hour says what one of hands can do, so hands must be above 0")
        return self

    @property
    def limited(self) -> bool:
        """Whether there is a volume that it can not serve."""
        return self.brain_interactions_per_hour is not None or self.hand_interactions_per_hour is not None


class Risk(Section):
    """What is drawn by lot for the risk-adjusted figures; all independent of each other."""

    draws: int = Field(default=10_000, ge=100, le=1_000_000)
    seed: int = Field(default=1, ge=0)
    """The same seed gives the same figures."""
    factors: dict[str, Distribution] = Field(default_factory=lambda: {})
    """By the input's path, such as ``decoupled.gpus``: the distribution of the factor it is multiplied by."""


class Sensitivity(Section):
    """How far inputs are turned to see what they do."""

    swing: Annotated[Decimal, Field(gt=0, lt=1)] = Decimal("0.2")
    """Each input is tried at 1 - swing and 1 + swing of its value; one of ``risk.factors`` at its P5 and P95."""
    hand_parallelism: list[Scale] = Field(
        default=[Decimal("0.5"), Decimal(1), Decimal(2), Decimal(4)], min_length=1, max_length=20
    )
    """Multiples of the decoupled hands that run all the time."""
    brain_scale: list[Scale] = Field(
        default=[Decimal("0.5"), Decimal(1), Decimal(2), Decimal(4)], min_length=1, max_length=20
    )
    """Multiples of the decoupled brain's fixed part."""


class Scenario(Section):
    """One comparison of a monolith with a decoupled platform."""

    name: KeyName
    source: str = ""
    """Where its numbers are from, and what is assumed."""
    prices: PriceList = PriceList()
    hours_per_month: Positive = Decimal(730)
    """Hours of a month: 730 of an average one, 720 of thirty days."""
    interactions_per_month: Positive
    """Interactions asked for in the first month."""
    growth_per_month: Annotated[Decimal, Field(gt=-1, le=10)] = Decimal(0)
    """By what part of itself the volume grows from month to month."""
    tokens_per_interaction: Positive | None = None
    """Tokens read and written in an interaction; without it there is no cost per token."""
    benefit_usd_per_interaction: Usd = Decimal(0)
    """US dollars that an interaction which is served brings in."""
    hidden: HiddenCosts = HiddenCosts()
    monolith: Deployment
    decoupled: Deployment
    migration_usd: Usd = Decimal(0)
    """US dollars to get from the one to the other, paid before the first month."""
    discount_rate_per_year: Annotated[Decimal, Field(ge=0, le=10)] = Decimal("0.10")
    """What a dollar in a year is worth less, as a part."""
    horizon_months: int = Field(default=36, ge=1, le=360)
    """Months that are looked at."""
    risk: Risk = Risk()
    sensitivity: Sensitivity = Sensitivity()

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if (self.monolith.limited or self.decoupled.limited) and self.benefit_usd_per_interaction == 0:
            raise ValueError(
                "benefit_usd_per_interaction must be above 0 where a deployment is limited: "
                "else what it can not serve would count as saved"
            )
        known = numbers_of(self)
        for path in self.risk.factors:
            if path not in known:
                raise ValueError(f"risk.factors: {path!r} is no number of the scenario; there are {', '.join(known)}")
        return self


def built_in_scenarios() -> list[str]:
    """Return the names of the scenarios that ship with the platform."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def read_scenario(name_or_path: str) -> Scenario:
    """Read a built-in scenario by its name, or a YAML file. Raises InvalidRequest, which names the field."""
    path = BUILT_IN / f"{name_or_path}.yaml" if name_or_path in built_in_scenarios() else Path(name_or_path)
    try:
        content = as_mapping(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InvalidRequest(
            f"{name_or_path}: is neither a file nor a built-in scenario ({', '.join(built_in_scenarios())})"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest(f"{path} can not be read: {error}") from error
    if content is None:
        raise InvalidRequest(f"{path}: must be a mapping with name, interactions_per_month, monolith and decoupled")
    return scenario_of(content, str(path))


def scenario_of(content: object, source: str) -> Scenario:
    """Return *content*, which came from *source*, as a scenario. Raises InvalidRequest, which names the field."""
    try:
        return Scenario.model_validate(content)
    except ValidationError as error:
        raise InvalidRequest(f"{source}: {_fault(error)}") from error


def scenario_text(scenario: Scenario) -> str:
    """Return the scenario as a file that ``read_scenario`` reads to the same."""
    return yaml.safe_dump(scenario.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
