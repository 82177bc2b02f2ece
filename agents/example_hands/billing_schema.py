"""The tables of the billing hand, and what is in them at first. Money is whole cents, times seconds since the epoch.

What was paid, credited and refunded is written down entry by entry and added up when it is asked for; no entry is
ever changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, PrimaryKeyConstraint, Table, Text

from agents.example_hands.demonstration import MONTHS, PLANS, DemoCustomer, customers, draw, month_start
from agents.example_hands.storage import calls_table

metadata = MetaData()

accounts = Table(
    "billing_accounts",
    metadata,
    Column("customer_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
)

invoices = Table(
    "billing_invoices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("customer_id", Text, ForeignKey("billing_accounts.customer_id"), nullable=False),
    Column("currency", Text, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Index("ix_billing_invoices_customer", "customer_id", "issued_at"),
)

lines = Table(
    "billing_lines",
    metadata,
    Column("invoice_id", Text, ForeignKey("billing_invoices.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", BigInteger, nullable=False),
    PrimaryKeyConstraint("invoice_id", "position"),
)

entries = Table(
    "billing_entries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("invoice_id", Text, ForeignKey("billing_invoices.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("cents", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_billing_entries_invoice", "invoice_id", "at"),
)

calls = calls_table("billing", metadata)

_DAY = 86_400
_TERM = 14 * _DAY
_MONTHS_KEPT = 4
"""The demonstration's invoices are of the last four months."""


def seed() -> Mapping[Table, Sequence[Mapping[str, Any]]]:
    """Return the demonstration's rows, by table."""
    issued = [
        (customer, month) for customer in customers() for month in customer.months if month >= MONTHS - _MONTHS_KEPT
    ]
    return {
        accounts: [{"customer_id": each.id, "name": each.company, "currency": "usd"} for each in customers()],
        invoices: [_invoice(*each) for each in issued],
        lines: [_line(*each) for each in issued],
        entries: list(_payments(issued)),
    }


def _invoice(customer: DemoCustomer, month: int) -> dict[str, Any]:
    at = int(month_start(month).timestamp())
    return {
        "id": _id(customer, month),
        "customer_id": customer.id,
        "currency": "usd",
        "total": PLANS[customer.plan],
        "issued_at": at,
        "due_at": at + _TERM,
    }


def _line(customer: DemoCustomer, month: int) -> dict[str, Any]:
    return {
        "invoice_id": _id(customer, month),
        "position": 1,
        "description": f"Plan {customer.plan}, {month_start(month):%B %Y}",
        "quantity": 1,
        "unit_price": PLANS[customer.plan],
    }


def _payments(issued: Sequence[tuple[DemoCustomer, int]]) -> Iterator[dict[str, Any]]:
    """Nearly all pay in time; of the last month one in three has not yet paid."""
    for customer, month in issued:
        if draw(3 if month == MONTHS - 1 else 20, "paid", customer.id, month):
            yield {
                "id": f"pay_{_id(customer, month)[4:]}",
                "invoice_id": _id(customer, month),
                "kind": "payment",
                "cents": PLANS[customer.plan],
                "reason": "card",
                "at": int(month_start(month).timestamp()) + draw(_TERM, "paid at", customer.id, month),
            }


def _id(customer: DemoCustomer, month: int) -> str:
    return f"inv_{customer.id[4:]}_{month_start(month):%Y%m}"
