"""List prices: what a model request and an hour of running cost.

Money is integer micro-USD, computed with integers and Decimal, never with floats. A model is priced
by the longest prefix of its id; a model without a price costs nothing and has price None, so that a
model of one's own is not billed at somebody else's rate.

On the wire an amount is whole US cents as a decimal string: the exact sum of all parts, rounded
once, half a cent up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, TypeGuard

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.brain_settings import BrainPrice
from agents.brains.assembly import TokenUsage
from agents.errors import HecatonError
from agents.governance.contract import Price

BUILT_IN = Path(__file__).with_name("prices.yaml")
MICRO = 1_000_000

Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6)]
"""At most six decimals, so that micro-USD are exact."""


class PriceBookError(HecatonError):
    """A price book that cannot be used; the message names the file and the key."""

    code = "invalid_request_error"


class _Rates(BaseModel):
    """USD per million tokens; a cache rate that is not given follows from the input rate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write_5m: Usd | None = None
    cache_write_1h: Usd | None = None


class _LongPrompt(_Rates):
    over_tokens: int = Field(ge=1)


class _Model(_Rates):
    fast: Decimal = Field(default=Decimal(1), ge=1, le=100)
    long_prompt: _LongPrompt | None = None


class _Book(BaseModel):
    """The content of a price file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    running_hour: Usd
    web_searches: Usd = Decimal(10)
    """USD per thousand."""
    models: dict[str, _Model]
    hands: dict[str, Price] = {}


@dataclass(frozen=True, slots=True)
class Rates:
    """Micro-USD per million tokens."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int

    def times_tokens(self, usage: TokenUsage) -> int:
        """The usage's price in micro-USD, times a million."""
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_input_tokens * self.cache_read
            + usage.cache_creation_5m * self.cache_write_5m
            + usage.cache_creation_1h * self.cache_write_1h
        )


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """What one model costs.

    ``fast`` multiplies every rate at fast speed. A prompt (cache reads and writes included) of more
    than ``long_over`` tokens pays the ``long`` rates for the whole request.
    """

    prefix: str
    rates: Rates
    fast: Decimal = Decimal(1)
    long_over: int | None = None
    long: Rates | None = None

    def cost(self, usage: TokenUsage, *, speed: str | None = None) -> int:
        """Micro-USD of one model request, rounded half up."""
        prompt = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_5m + usage.cache_creation_1h
        is_long = self.long is not None and self.long_over is not None and prompt > self.long_over
        rates = self.long if is_long and self.long is not None else self.rates
        factor = self.fast if speed == "fast" else Decimal(1)
        return half_up(rates.times_tokens(usage) * factor / MICRO)


class PriceBook:
    """Prices of models, of running time, of web searches and of calls to hands."""

    def __init__(
        self,
        models: dict[str, ModelPrice],
        running_hour_micro_usd: int,
        web_search_micro_usd: int = 0,
        hands: Mapping[str, Price] | None = None,
    ) -> None:
        self._models = sorted(models.values(), key=lambda price: len(price.prefix), reverse=True)
        self.running_hour_micro_usd = running_hour_micro_usd
        self.web_search_micro_usd = web_search_micro_usd
        self._hands = hands or {}

    @classmethod
    def load(cls, path: Path | None = None) -> PriceBook:
        """Read a price file, or the built-in one. Raises PriceBookError."""
        source = path or BUILT_IN
        try:
            book = _Book.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise PriceBookError(f"{source}: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            raise PriceBookError(f"{source}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error
        models = {prefix: _model_price(prefix, model) for prefix, model in book.models.items()}
        searches = half_up(book.web_searches * MICRO / 1000)
        return cls(models, half_up(book.running_hour * MICRO), searches, book.hands)

    @property
    def models(self) -> Sequence[str]:
        """The whole names among the prefixes, in order: one that ends in a dash stands for a family."""
        return sorted(price.prefix for price in self._models if not price.prefix.endswith("-"))

    def price(self, model: str) -> ModelPrice | None:
        """Return the price under the longest prefix of *model*, or None."""
        return next((price for price in self._models if model.startswith(price.prefix)), None)

    def hand(self, hand: str) -> Price | None:
        """Return the price of calls to a version of a hand (``crm@1.4``): its own, or its hand's; None without any."""
        return self._hands.get(hand) or self._hands.get(hand.partition("@")[0])

    def has_price(self, model: str, *, own: BrainPrice | None = None) -> bool:
        """Return whether requests to *model* have a price, the brain's *own* or one of the book."""
        return _is_price(own) or self.price(model) is not None

    def cost(self, model: str, usage: TokenUsage, *, speed: str | None = None, own: BrainPrice | None = None) -> int:
        """Micro-USD of one model request, at the brain's *own* price if it has one; 0 for a model without any."""
        if _is_price(own):
            return _own_price(own.input_mtok, own.output_mtok).cost(usage)
        price = self.price(model)
        return price.cost(usage, speed=speed) if price else 0


def _is_price(own: BrainPrice | None) -> TypeGuard[BrainPrice]:
    return own is not None and own.given


@lru_cache
def _own_price(input_mtok: float, output_mtok: float) -> ModelPrice:
    # By way of their decimal notation: 0.1 USD shall be 100 000 micro-USD, not what the nearest float makes of it.
    rates = _Rates.model_construct(input=Decimal(str(input_mtok)), output=Decimal(str(output_mtok)))
    return ModelPrice("", _rates(rates))


def _model_price(prefix: str, model: _Model) -> ModelPrice:
    long = model.long_prompt
    return ModelPrice(
        prefix=prefix,
        rates=_rates(model),
        fast=model.fast,
        long_over=long.over_tokens if long else None,
        long=_rates(long) if long else None,
    )


def _rates(given: _Rates) -> Rates:
    """Reads cost a tenth of the input, five-minute writes 1.25 times, one-hour writes twice, unless given."""

    def micro(value: Decimal | None, factor: str = "1") -> int:
        return half_up((given.input * Decimal(factor) if value is None else value) * MICRO)

    return Rates(
        input=micro(given.input),
        output=micro(given.output),
        cache_read=micro(given.cache_read, "0.1"),
        cache_write_5m=micro(given.cache_write_5m, "1.25"),
        cache_write_1h=micro(given.cache_write_1h, "2"),
    )


def half_up(value: Decimal) -> int:
    """Return the nearest whole number, of two the upper one."""
    return int(value.to_integral_value(ROUND_HALF_UP))
