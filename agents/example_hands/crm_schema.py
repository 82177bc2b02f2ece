"""The tables of the CRM, and what is in them at first. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, MetaData, Table, Text

from agents.example_hands.demonstration import MONTHS, customers, draw, month_start
from agents.example_hands.storage import calls_table

metadata = MetaData()

people = Table(
    "crm_customers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False, unique=True),
    Column("company", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

interactions = Table(
    "crm_interactions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("customer_id", Text, ForeignKey("crm_customers.id"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_crm_interactions_customer", "customer_id", "at"),
)

cases = Table(
    "crm_cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("customer_id", Text, ForeignKey("crm_customers.id"), nullable=False),
    Column("subject", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("resolution", Text),
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Index("ix_crm_cases_customer", "customer_id", "opened_at"),
)

calls = calls_table("crm", metadata)

_TALKS = ("asked for an offer", "reported a slow export", "wanted an invoice again", "praised the new dashboard")
_SUBJECTS = ("Export stops half way", "Charged twice", "Cannot log in", "Data import fails")


def seed() -> Mapping[Table, Sequence[Mapping[str, Any]]]:
    """Return the demonstration's rows, by table."""
    return {people: _people(), interactions: _interactions(), cases: _cases()}


def _people() -> list[dict[str, Any]]:
    return [
        {
            "id": each.id,
            "name": each.name,
            "email": each.email,
            "company": each.company,
            "plan": each.plan,
            "status": "active" if each.left is None else "churned",
            "created_at": int(month_start(each.joined).timestamp()),
            "updated_at": int(month_start(each.joined if each.left is None else each.left).timestamp()),
        }
        for each in customers()
    ]


def _interactions() -> list[dict[str, Any]]:
    return [
        {
            "id": f"int_{each.id[4:]}_{number}",
            "customer_id": each.id,
            "channel": ("email", "phone", "chat")[draw(3, "channel", each.id, number)],
            "summary": f"{each.name} {_TALKS[draw(len(_TALKS), 'talk', each.id, number)]}.",
            "at": _moment("at", each.id, number),
        }
        for each in customers()
        for number in range(1 + draw(3, "talks", each.id))
    ]


def _cases() -> list[dict[str, Any]]:
    return [_case(each.id) for each in customers() if draw(3, "case", each.id) == 0]


def _case(customer: str) -> dict[str, Any]:
    closed = draw(2, "closed", customer) == 0
    opened = _moment("opened", customer)
    return {
        "id": f"case_{customer[4:]}",
        "customer_id": customer,
        "subject": _SUBJECTS[draw(len(_SUBJECTS), "subject", customer)],
        "priority": ("low", "normal", "high")[draw(3, "priority", customer)],
        "status": "closed" if closed else "open",
        "resolution": "Solved with the customer on the phone." if closed else None,
        "opened_at": opened,
        "closed_at": opened + 86_400 * (1 + draw(5, "days", customer)) if closed else None,
    }


def _moment(*what: object) -> int:
    """Some moment of the last three months."""
    return int(month_start(MONTHS - 3).timestamp()) + draw(90 * 86_400, *what)
