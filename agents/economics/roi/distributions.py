"""How uncertain an input is: a distribution of the factor that its value is multiplied by; 1 is the value as given."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from agents.settings_base import Section
from agents.statistics.scipy_stats import stats

_Factor = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class Uniform(Section):
    """Every factor between two is as likely."""

    kind: Literal["uniform"]
    low: _Factor
    high: _Factor

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class Triangular(Section):
    """From the worst to the best that is thought possible, with the most likely between them."""

    kind: Literal["triangular"]
    low: _Factor
    mode: _Factor = 1.0
    high: _Factor

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.mode <= self.high or self.low == self.high:
            raise ValueError("must be low <= mode <= high, and low less than high")
        return self


class LogNormal(Section):
    """As likely twice as it is half: what is the product of many things."""

    kind: Literal["lognormal"]
    median: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    sigma: Annotated[float, Field(gt=0, le=3, allow_inf_nan=False)]
    """Standard deviation of the factor's natural logarithm."""


Distribution = Annotated[Uniform | Triangular | LogNormal, Field(discriminator="kind")]


def frozen(given: Uniform | Triangular | LogNormal) -> Any:
    """Return the distribution as SciPy has it (``rvs``, ``ppf``, ``mean``)."""
    match given:
        case Uniform():
            return stats().uniform(loc=given.low, scale=given.high - given.low)
        case Triangular():
            width = given.high - given.low
            return stats().triang((given.mode - given.low) / width, loc=given.low, scale=width)
        case LogNormal():
            return stats().lognorm(given.sigma, scale=given.median)
