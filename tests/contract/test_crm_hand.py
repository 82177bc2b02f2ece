"""The CRM hand on both databases (ours)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hand_client import assert_told_by_field, hand

from agents.example_hands.crm import server

JUN = {"name": "Jun Park", "email": "Jun@Park.example", "company": "Park & Sons", "plan": "team"}


@pytest.fixture(autouse=True)
def crm(monkeypatch: pytest.MonkeyPatch, empty_location: str) -> None:
    monkeypatch.setenv("CRM_DATABASE", empty_location)
    monkeypatch.setenv("EXAMPLE_HANDS_DATA", "1")


async def test_customers_are_found_read_and_changed() -> None:
    async with hand(server) as call:
        made = await call("create_customer", **JUN)
        assert made["email"] == "jun@park.example"
        assert made["status"] == "prospect"
        assert (await call("find_customers", query="PARK & s"))["customers"] == [made]
        assert (await call("find_customers", query="%"))["total"] == 0
        changed = await call("update_customer", customer_id=made["id"], plan="business", status="active")
        assert changed == made | {"plan": "business", "status": "active", "updated_at": changed["updated_at"]}
        assert await call("get_customer", customer_id=made["id"]) == changed
        some = await call("find_customers", plan="business", status="active", limit=2)
        assert len(some["customers"]) == 2 < some["total"]
        assert "email: " in await call("create_customer", **JUN)
        assert "email: " in await call("update_customer", customer_id="cus_0001", email=JUN["email"])
        assert "at least one of" in await call("update_customer", customer_id="cus_0001")


async def test_what_was_said_and_cases_are_kept_with_the_customer() -> None:
    async with hand(server) as call:
        customer = (await call("create_customer", **JUN))["id"]
        said = await call("log_interaction", customer_id=customer, channel="phone", summary="Wants an offer.")
        assert await call("list_interactions", customer_id=customer) == {"interactions": [said], "total": 1}
        case = await call("open_case", customer_id=customer, subject="Export stops", priority="high")
        assert (await call("list_cases", customer_id=customer, status="open"))["cases"] == [case]
        closed = await call("close_case", case_id=case["id"], resolution="A new version.")
        assert (closed["status"], closed["resolution"]) == ("closed", "A new version.")
        assert await call("close_case", case_id=case["id"], resolution="Something else.") == closed
        assert (await call("list_cases", customer_id=customer, status="open"))["total"] == 0


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("get_customer", {"customer_id": "cus_nobody"}, "customer_id"),
    ("log_interaction", {"customer_id": "cus_nobody", "channel": "chat", "summary": "x"}, "customer_id"),
    ("list_cases", {"customer_id": "cus_nobody"}, "customer_id"),
    ("close_case", {"case_id": "case_none", "resolution": "x"}, "case_id"),
    ("find_customers", {"limit": 1000}, "limit"),
    ("find_customers", {"nam": "Jun"}, "nam"),
    ("create_customer", JUN | {"email": "nowhere"}, "email"),
    ("create_customer", JUN | {"name": "J\0n"}, "U+0000"),
    ("find_customers", {"query": "\0"}, "query"),
]


async def test_what_is_wrong_is_told_by_field_as_the_tools_error() -> None:
    await assert_told_by_field(server, WRONG)


async def test_a_call_repeated_under_its_key_has_one_effect_also_at_once_and_after_a_restart() -> None:
    async with hand(server) as call, hand(server) as another:
        first, second = await asyncio.gather(
            call("create_customer", "sevt_1", **JUN), another("create_customer", "sevt_1", **JUN)
        )
        assert first == second
        assert (await call("find_customers", query="Jun Park"))["total"] == 1
    async with hand(server) as call:
        assert await call("create_customer", "sevt_1", **JUN) == first
        other = await call("create_customer", "sevt_1", **JUN | {"name": "Jan Park"})
        assert "another call" in other
        assert "idempotency-key: must be" in await call("create_customer", "k" * 201, **JUN)


async def test_a_call_that_failed_can_be_made_again_under_its_key() -> None:
    async with hand(server) as call:
        holder = await call("create_customer", **JUN)
        assert "email: " in await call("create_customer", "sevt_2", **JUN)
        await call("update_customer", customer_id=holder["id"], email="other@park.example")
        assert (await call("create_customer", "sevt_2", **JUN))["name"] == "Jun Park"


async def test_tables_are_made_once_by_servers_that_start_together() -> None:
    async with hand(server) as one, hand(server) as two, hand(server) as three:
        counts = await asyncio.gather(*(call("find_customers", limit=1) for call in (one, two, three)))
    assert [count["total"] for count in counts] == [60, 60, 60]


async def test_a_database_that_was_configured_stays_empty_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXAMPLE_HANDS_DATA")
    async with hand(server) as call:
        assert (await call("find_customers"))["total"] == 0
