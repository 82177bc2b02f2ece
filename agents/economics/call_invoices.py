"""Bills for calls of hands: each tenant's of one month, hand by hand, and what of it each hand's provider gets.

Micro-USD are added up exactly and rounded to cents once, in a tenant's total (half up). Lines and shares are parts of
that total by largest remainder, so that on every page the parts add up to the cent, and what all tenants pay is what
all providers and the platform get.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from agents.economics.call_usage import CallTotal
from agents.errors import InvalidRequest

_MICRO_PER_CENT = 10_000


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """What a tenant pays for a hand; the two shares are all of it."""

    hand: str
    calls: int
    cached: int
    micro_usd: int
    cents: int
    provider_cents: int

    @property
    def platform_cents(self) -> int:
        return self.cents - self.provider_cents


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a tenant pays for a month."""

    tenant: str
    cents: int
    lines: tuple[InvoiceLine, ...]


@dataclass(frozen=True, slots=True)
class Payout:
    """What a hand has brought in over all tenants, and who gets it."""

    hand: str
    calls: int
    cents: int
    provider_cents: int

    @property
    def platform_cents(self) -> int:
        return self.cents - self.provider_cents


def invoices_of(totals: Sequence[CallTotal]) -> list[Invoice]:
    """Write the invoices of a month from its calls, added up by tenant and hand (in this order)."""
    by_tenant = groupby(sorted(totals, key=lambda total: total.group), key=lambda total: total.group[0])
    return [_invoice(tenant, list(group)) for tenant, group in by_tenant]


def payouts_of(invoices: Iterable[Invoice]) -> list[Payout]:
    """Add the lines of all invoices up by hand."""
    lines = sorted((line for invoice in invoices for line in invoice.lines), key=lambda line: line.hand)
    return [_payout(hand, list(group)) for hand, group in groupby(lines, key=lambda line: line.hand)]


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Deal *total* out by weight in whole parts that add up to it: the largest remainders get what rounding leaves.

    Of equal remainders the earlier one goes first. Without any weight there is nothing to deal out.
    """
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda index: -(total * weights[index] % whole))
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts


def month_span(field: str, month: str) -> tuple[datetime, datetime]:
    """Return the first moment of a month such as ``2026-11`` (UTC), and of the one after. Raises InvalidRequest."""
    try:
        start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    except ValueError:
        raise InvalidRequest(f"{field}: must be a month such as 2026-11, not {month[:40]!r}") from None
    return start, end


def _invoice(tenant: str, totals: Sequence[CallTotal]) -> Invoice:
    weights = [total.micro_usd for total in totals]
    cents = (sum(weights) + _MICRO_PER_CENT // 2) // _MICRO_PER_CENT
    parts = apportion(cents, weights)
    return Invoice(tenant, cents, tuple(map(_line, totals, parts)))


def _line(total: CallTotal, cents: int) -> InvoiceLine:
    provider, _ = apportion(cents, [total.provider_micro_usd, total.micro_usd - total.provider_micro_usd])
    return InvoiceLine(total.group[1], total.calls, total.cached, total.micro_usd, cents, provider)


def _payout(hand: str, lines: Sequence[InvoiceLine]) -> Payout:
    cents, provider = sum(line.cents for line in lines), sum(line.provider_cents for line in lines)
    return Payout(hand, sum(line.calls for line in lines), cents, provider)
