"""Invoices for calls of hands (ours): exact to the cent, and what all of them pay is what the log says."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.economics.call_invoices import Invoice, InvoiceLine, Payout, apportion, invoices_of, month_span, payouts_of
from agents.economics.call_usage import CallTotal
from agents.errors import InvalidRequest


def total(tenant: str, hand: str, calls: int, micro_usd: int, provider: int, cached: int = 0) -> CallTotal:
    return CallTotal((tenant, hand), calls, cached, 0, 0, 0, 0, 0, 0, micro_usd, provider)


def test_a_month_computed_by_hand() -> None:
    """Worked out on paper.

    acme: crm 1,234 calls at 0.002 of which 234 cached at 0.0005 = 2.000000 + 0.117000 = 2.117; billing 3 calls at
    0.005 = 0.015; analytics 1.333333. Together 3.465333 = 3.47 rounded. By weight of 3.47: crm 211.98.. -> 2.12
    (remainder .984), billing 1.502 -> 1 (.502), analytics 133.514 -> 133 (.514): whole cents 211 + 1 + 133 = 345, the
    two left go to crm and analytics: 2.12, 0.01, 1.34. Shares: crm 80 % of 212 = 169.6 -> 170 (.6 before .4);
    billing 70 % of 1 -> 1; analytics 60 % (0.800000 of 1.333333) of 134 = 80.4 -> 80.
    zeta: crm 2 calls = 0.004 -> 0.40 of a cent -> 0.00.
    """
    totals = [
        total("acme", "analytics", 40, 1_333_333, 800_000),
        total("acme", "billing", 3, 15_000, 10_500),
        total("acme", "crm", 1234, 2_117_000, 1_693_600, cached=234),
        total("zeta", "crm", 2, 4_000, 3_200),
    ]
    invoices = invoices_of(totals)
    assert invoices == [
        Invoice(
            "acme",
            347,
            (
                InvoiceLine("analytics", 40, 0, 1_333_333, 134, 80),
                InvoiceLine("billing", 3, 0, 15_000, 1, 1),
                InvoiceLine("crm", 1234, 234, 2_117_000, 212, 170),
            ),
        ),
        Invoice("zeta", 0, (InvoiceLine("crm", 2, 0, 4_000, 0, 0),)),
    ]
    assert invoices[0].lines[2].platform_cents == 42
    assert payouts_of(invoices) == [
        Payout("analytics", 40, 134, 80),
        Payout("billing", 3, 1, 1),
        Payout("crm", 1236, 212, 170),
    ]


MONEY = st.integers(0, 10**13)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["crm", "billing", "x", "y"])), st.tuples(MONEY, MONEY)
    )
)
def test_every_page_adds_up_to_what_the_log_says(prices: dict[tuple[str, str], tuple[int, int]]) -> None:
    totals = [total(*group, 1, max(pair), min(pair)) for group, pair in prices.items()]
    invoices = invoices_of(totals)
    assert [invoice.tenant for invoice in invoices] == sorted({tenant for tenant, _ in prices})
    for invoice in invoices:
        logged = sum(each.micro_usd for each in totals if each.group[0] == invoice.tenant)
        # Half a cent is all that rounding may do to a tenant, and it rounds up.
        assert -Fraction(1, 2) < invoice.cents - Fraction(logged, 10_000) <= Fraction(1, 2)
        assert sum(line.micro_usd for line in invoice.lines) == logged
        assert sum(line.cents for line in invoice.lines) == invoice.cents
        for line in invoice.lines:
            assert 0 <= line.provider_cents <= line.cents
            provider = next(each for each in totals if each.group == (invoice.tenant, line.hand)).provider_micro_usd
            if line.micro_usd:
                assert abs(line.provider_cents - Fraction(line.cents * provider, line.micro_usd)) < 1
    payouts = payouts_of(invoices)
    assert sum(payout.cents for payout in payouts) == sum(invoice.cents for invoice in invoices)
    assert all(payout.provider_cents + payout.platform_cents == payout.cents for payout in payouts)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_what_is_dealt_out_adds_up_and_nobody_is_a_whole_part_off(amount: int, weights: list[int]) -> None:
    parts = apportion(amount, weights)
    if not sum(weights):
        assert parts == [0] * len(weights)
        return
    assert sum(parts) == amount
    assert all(
        abs(part - Fraction(amount * weight, sum(weights))) < 1 for part, weight in zip(parts, weights, strict=True)
    )


def test_of_equal_remainders_the_first_goes_first() -> None:
    assert apportion(2, [1, 1, 1]) == [1, 1, 0]


def test_a_month_goes_to_the_first_moment_of_the_next() -> None:
    assert [str(each) for each in month_span("month", "2026-12")] == [
        "2026-12-01 00:00:00+00:00",
        "2027-01-01 00:00:00+00:00",
    ]


@pytest.mark.parametrize("month", ["2026-13", "2026", "", "x" * 99, "9999-12"])
def test_what_is_no_month_is_told_by_field(month: str) -> None:
    with pytest.raises(InvalidRequest, match="month: must be a month such as 2026-11"):
        month_span("month", month)
