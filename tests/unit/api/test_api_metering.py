"""What hands were used for, and the invoices, over HTTP (ours).

Bug class this catches: a call that is billed twice or not, amounts that do not add up, or a report without a key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api_fakes import Server, refusal

from agents.economics.call_books import CallBooks
from agents.economics.hand_calls import CallRecord
from agents.sessions.events import EventType
from agents.store.call_records import row_of
from tests.unit.economics.call_samples import call


def log(server: Server, *calls: CallRecord) -> None:
    server.store.calls.rows |= {each.key: row_of(each) for each in calls}


async def _used(server: Server, folder: Path) -> None:
    """Two calls in the files, one that waits, and one in both; another month beside."""
    log(server, call("a"), call("b", hand="billing", micro_usd=15_000, provider_micro_usd=10_500))
    await CallBooks(server.store.calls, folder, server.platform.clock).write()
    log(server, call("a"), call("c", tenant="zeta", outcome="tool_error", session="sesn_2"))
    log(server, call("d", at=datetime(2026, 12, 1, tzinfo=UTC), cached=True, micro_usd=500))


async def test_usage_is_told_by_what_is_asked_for(server: Server, tmp_path: Path) -> None:
    await _used(server, tmp_path / "calls")
    answer = (await server.client.get("/-/usage")).json()
    assert (answer["by"], answer["since"], answer["until"], answer["micro_usd"]) == ("hand", None, None, 19_500)
    assert [(row["group"], row["calls"], row["cached"], row["failed"]) for row in answer["data"]] == [
        ("billing", 1, 0, 0),
        ("crm", 3, 1, 1),
    ]
    assert answer["data"][0] == {
        "group": "billing",
        "calls": 1,
        "cached": 0,
        "failed": 0,
        "queue_ms": 2,
        "run_ms": 30,
        "cpu_us": 500,
        "bytes_in": 10,
        "bytes_out": 100,
        "micro_usd": 15_000,
        "provider_micro_usd": 10_500,
    }
    by_tenant = (await server.client.get("/-/usage?by=tenant&until=2026-12-01")).json()
    assert [(row["group"], row["calls"]) for row in by_tenant["data"]] == [("acme", 2), ("zeta", 1)]
    since = (await server.client.get("/-/usage?by=session&since=2026-11-30T23:00:00-01:00&tenant=acme")).json()
    assert since["since"] == "2026-12-01T00:00:00.000000Z"
    assert [(row["group"], row["calls"]) for row in since["data"]] == [("sesn_1", 1)]


async def test_the_invoices_of_a_month_add_up(server: Server, tmp_path: Path) -> None:
    await _used(server, tmp_path / "calls")
    answer = (await server.client.get("/-/invoices?month=2026-11")).json()
    # acme: 0.002 + 0.015 = 0.017 = 1.7 cents; zeta: 0.2 of a cent.
    assert [(invoice["tenant"], invoice["cents"]) for invoice in answer["invoices"]] == [("acme", 2), ("zeta", 0)]
    assert answer["invoices"][0]["lines"] == [
        {
            "hand": "billing",
            "calls": 1,
            "cached": 0,
            "micro_usd": 15_000,
            "cents": 2,
            "provider_cents": 1,
            "platform_cents": 1,
        },
        {
            "hand": "crm",
            "calls": 1,
            "cached": 0,
            "micro_usd": 2000,
            "cents": 0,
            "provider_cents": 0,
            "platform_cents": 0,
        },
    ]
    assert [(payout["hand"], payout["calls"], payout["cents"]) for payout in answer["payouts"]] == [
        ("billing", 1, 2),
        ("crm", 2, 0),
    ]
    assert answer["cents"] == 2


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("usage?by=nothing", "by: must be one of hand, version, tenant"),
        ("usage?since=yesterday", "since: must be a day"),
        ("usage?until=2026-11-31", "until: must be a day"),
        ("usage?since=2026-11-02&until=2026-11-02", "until: must be after since"),
        ("usage?tenant=", "tenant: must not be empty"),
        ("invoices", "month: is required"),
        ("invoices?month=2026-1x", "month: must be a month"),
    ],
)
async def test_what_can_not_be_answered_is_told_by_field(server: Server, query: str, words: str) -> None:
    assert words in refusal(await server.client.get(f"/-/{query}"), 400)


async def test_it_takes_a_key(make_server: Callable[..., Awaitable[Server]]) -> None:
    server = await make_server(api_key="secret")
    for path in ("/-/usage", "/-/invoices?month=2026-11"):
        refusal(await server.client.get(path), 401, "authentication_error")


async def test_the_books_are_reconciled_with_the_log(server: Server) -> None:
    await server.environment()
    session = await server.session()
    kept = {"outcome": "ok", "server": "", "hand": "crm@1", "tool": "t", "cached": False, "bytes_in": 1, "bytes_out": 2}
    kept |= {"queue_seconds": 0.0, "run_seconds": 0.0, "cpu_seconds": 0.0, "micro_usd": 7, "provider_micro_usd": 7}
    await server.host.log(
        session["id"],
        EventType.AGENT_MCP_TOOL_RESULT,
        {"mcp_tool_use_id": "sevt_1", "content": [], "is_error": False},
        hidden={"call": kept},
    )
    await server.store.calls.settle(["sevt_1"])  # and the file it went into is lost
    assert (await server.client.get("/-/usage")).json()["data"] == []
    answer = await server.client.post("/-/usage/reconcile", json={})
    assert answer.json() == {"seen": 1, "added": 1, "next": None}
    assert (await server.client.get("/-/usage")).json()["micro_usd"] == 7
    assert "seq: " in refusal(await server.client.post("/-/usage/reconcile", json={"seq": -1}), 400)
