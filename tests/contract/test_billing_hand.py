"""The billing hand on both databases (ours)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hand_client import assert_told_by_field, hand

from agents.example_hands.billing import server


@pytest.fixture(autouse=True)
def billing(monkeypatch: pytest.MonkeyPatch, empty_location: str) -> None:
    monkeypatch.setenv("BILLING_DATABASE", empty_location)


async def _bill(call: Any, *prices: str, quantity: int = 1) -> str:
    await call("open_account", customer_id="cus_1", name="Park & Sons")
    lines = [{"description": "Seats", "quantity": quantity, "unit_price": price} for price in prices]
    return (await call("create_invoice", customer_id="cus_1", lines_to_bill=lines))["invoice_id"]


async def test_an_invoice_is_exact_to_the_cent() -> None:
    async with hand(server) as call:
        invoice = await _bill(call, "0.10", "33.33", quantity=3)
        whole = await call("get_invoice", invoice_id=invoice)
        assert whole["total"] == whole["due"] == "100.29"
        assert whole["lines"][1] == {"description": "Seats", "quantity": 3, "unit_price": "33.33"}
        assert whole["due_at"] - whole["issued_at"] == 14 * 86_400


async def test_payments_credits_and_refunds_add_up() -> None:
    async with hand(server) as call:
        invoice = await _bill(call, "100.00")
        after = await call("record_payment", invoice_id=invoice, amount="60.00")
        assert (after["status"], after["due"]) == ("open", "40.00")
        after = await call("apply_credit", invoice_id=invoice, amount="15.50", reason="an outage")
        assert (after["credited"], after["due"]) == ("15.50", "24.50")
        after = await call("refund", invoice_id=invoice, amount="10.00", reason="one seat less")
        assert (after["paid"], after["credited"], after["refunded"], after["due"]) == (
            "50.00",
            "25.50",
            "10.00",
            "24.50",
        )
        after = await call("record_payment", invoice_id=invoice, amount="24.50")
        assert after["status"] == "paid"
        assert await call("payment_status", invoice_id=invoice) == after
        entries = (await call("get_invoice", invoice_id=invoice))["entries"]
        assert [(entry["kind"], entry["amount"]) for entry in entries] == [
            ("payment", "60.00"),
            ("credit", "15.50"),
            ("refund", "10.00"),
            ("payment", "24.50"),
        ]


async def test_the_balance_is_of_all_invoices_and_they_are_found_by_status() -> None:
    async with hand(server) as call:
        paid, open_one = await _bill(call, "20.00"), await _bill(call, "5.05")
        await call("record_payment", invoice_id=paid, amount="20.00")
        balance = await call("balance", customer_id="cus_1")
        assert (balance["invoiced"], balance["paid"], balance["due"]) == ("25.05", "20.00", "5.05")
        assert (balance["overdue"], balance["open_invoices"]) == ("0.00", 1)
        found = await call("find_invoices", customer_id="cus_1", status="open")
        assert [each["invoice_id"] for each in found["invoices"]] == [open_one]
        assert (await call("find_invoices", customer_id="cus_1", limit=1))["total"] == 2


async def test_nobody_pays_more_than_is_due_nor_gets_back_more_than_was_paid_however_many_try_at_once() -> None:
    async with hand(server) as call, hand(server) as another:
        invoice = await _bill(call, "10.00")
        await another("balance", customer_id="cus_1")
        tries = [each("record_payment", invoice_id=invoice, amount="6.00") for each in (call, another) * 4]
        refused = [each for each in await asyncio.gather(*tries) if isinstance(each, str)]
        assert len(refused) == 7
        assert all("more than the 4.00 that is due" in each for each in refused)
        assert "amount: 6.01" in await call("refund", invoice_id=invoice, amount="6.01", reason="x")


async def test_a_refund_repeated_under_its_key_is_paid_once() -> None:
    async with hand(server) as call:
        invoice = await _bill(call, "10.00")
        await call("record_payment", invoice_id=invoice, amount="10.00")
        asked = {"invoice_id": invoice, "amount": "4.00", "reason": "x"}
        first = await call("refund", "sevt_1", **asked)
        assert await call("refund", "sevt_1", **asked) == first
        assert (await call("payment_status", invoice_id=invoice))["paid"] == "6.00"
        assert (await call("refund", "sevt_2", **asked))["paid"] == "2.00"


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("payment_status", {"invoice_id": "inv_none"}, "invoice_id"),
    ("refund", {"invoice_id": "inv_none", "amount": "1.00", "reason": "x"}, "invoice_id"),
    ("balance", {"customer_id": "cus_nobody"}, "customer_id"),
    ("record_payment", {"invoice_id": "inv_none", "amount": 1.1}, "amount"),
    ("record_payment", {"invoice_id": "inv_none", "amount": "0.00"}, "amount"),
    ("create_invoice", {"customer_id": "c", "lines_to_bill": []}, "lines_to_bill"),
    (
        "create_invoice",
        {"customer_id": "c", "lines_to_bill": [{"description": "\0", "unit_price": "1.00"}]},
        "lines_to_bill",
    ),
    ("create_invoice", {"customer_id": "c", "lines_to_bill": [{"description": "x"}]}, "lines_to_bill.0.unit_price"),
]


async def test_what_is_wrong_is_told_by_field_as_the_tools_error() -> None:
    await assert_told_by_field(server, WRONG)
