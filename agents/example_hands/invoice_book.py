"""How invoices stand, added up from their entries. All amounts are cents.

A refund gives back what was paid and charges that much less: it lowers ``paid`` and raises ``credited``, and what is
due stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mcp.server.mcpserver.exceptions import ToolError
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from agents.example_hands.billing_schema import entries, invoices


@dataclass(frozen=True, slots=True)
class InvoiceState:
    """One invoice, and where it stands at a moment."""

    invoice_id: str
    customer_id: str
    currency: str
    issued_at: int
    due_at: int
    total: int
    payments: int
    credits: int
    refunded: int
    now: int

    @property
    def paid(self) -> int:
        return self.payments - self.refunded

    @property
    def credited(self) -> int:
        return self.credits + self.refunded

    @property
    def due(self) -> int:
        return self.total - self.payments - self.credits

    @property
    def status(self) -> Literal["open", "overdue", "paid"]:
        if self.due == 0:
            return "paid"
        return "overdue" if self.now > self.due_at else "open"


async def read_state(connection: AsyncConnection, invoice_id: str, now: int, *, lock: bool = False) -> InvoiceState:
    """Return how an invoice stands; with *lock* nobody else adds to it before the transaction ends.

    Raises ToolError when there is none.
    """
    if lock:
        # PostgreSQL's way; SQLite leaves it out, as there who writes has the whole file.
        await connection.execute(select(invoices.c.id).where(invoices.c.id == invoice_id).with_for_update())
    found = await connection.execute(_WITH_SUMS.where(invoices.c.id == invoice_id))
    if (row := found.mappings().one_or_none()) is None:
        raise ToolError(f"invoice_id: there is no invoice {invoice_id!r}")
    return _state(row, now)


async def read_states(connection: AsyncConnection, customer_id: str, now: int) -> Sequence[InvoiceState]:
    """Return how all invoices of a customer stand, the latest first."""
    found = _WITH_SUMS.where(invoices.c.customer_id == customer_id)
    rows = await connection.execute(found.order_by(invoices.c.issued_at.desc(), invoices.c.id.desc()))
    return [_state(row, now) for row in rows.mappings()]


def _sum(kind: str) -> Any:
    return func.coalesce(func.sum(case((entries.c.kind == kind, entries.c.cents), else_=0)), 0)


_WITH_SUMS = (
    select(
        *(column for column in invoices.c if column.name != "id"),
        invoices.c.id.label("invoice_id"),
        _sum("payment").label("payments"),
        _sum("credit").label("credits"),
        _sum("refund").label("refunded"),
    )
    .outerjoin(entries, entries.c.invoice_id == invoices.c.id)
    .group_by(invoices.c.id)
)


def _state(row: Mapping[Any, Any], now: int) -> InvoiceState:
    # PostgreSQL adds big integers up as exact decimals.
    sums = {name: int(row[name]) for name in ("payments", "credits", "refunded")}
    fields: dict[str, Any] = {**row, **sums}
    return InvoiceState(**fields, now=now)
