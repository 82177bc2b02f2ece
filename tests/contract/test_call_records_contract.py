"""What every store promises of the calls that servers ran (port: agents.economics.hand_calls.CallRecords)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from store_records import T0, AnyStore, claimed, session

from agents import ids
from agents.clock import ManualClock
from agents.economics.hand_calls import CallRecord, LoggedCalls, LogPlace
from agents.errors import Conflict, LogConflict
from agents.sessions.events import Event, EventType, SessionRecord
from agents.sessions.log import Commit, Lease

KEPT: dict[str, Any] = {
    "outcome": "ok",
    "server": "crm",
    "tool": "get_customer",
    "hand": "crm@1.4",
    "queue_seconds": 0.0123,
    "run_seconds": 1.5,
    "cpu_seconds": 0.000004,
    "bytes_in": 20,
    "bytes_out": 2**40,
    "cached": False,
    "micro_usd": 2000,
    "provider_micro_usd": 1600,
}


def result_of(call_id: str, **kept: Any) -> Event:
    body = {"mcp_tool_use_id": call_id, "content": [], "is_error": False}
    return Event(ids.new_event_id(), EventType.AGENT_MCP_TOOL_RESULT, body, T0, hidden={"call": KEPT | kept})


def recorded(call_id: str, record: SessionRecord) -> CallRecord:
    return CallRecord(
        key=call_id,
        at=T0,
        tenant="acme",
        session=record.id,
        hand="crm",
        version="1.4",
        tool="get_customer",
        outcome="ok",
        cached=False,
        queue_ms=12,
        run_ms=1500,
        cpu_us=4,
        bytes_in=20,
        bytes_out=2**40,
        micro_usd=2000,
        provider_micro_usd=1600,
    )


async def _begun(store: AnyStore) -> tuple[Lease, SessionRecord]:
    lease = await claimed(store)
    record = session(principal="acme")
    await store.log.create(Commit(lease, 0, record))
    return lease, record


async def test_a_call_lies_ready_with_the_commit_of_its_result_until_it_is_settled(store: AnyStore) -> None:
    lease, record = await _begun(store)
    plain = Event(ids.new_event_id(), EventType.AGENT_TOOL_RESULT, {"tool_use_id": "c"}, T0, hidden={"outcome": "x"})
    events = (result_of("sevt_b"), plain, result_of("sevt_a"))
    await store.log.append(Commit(lease, 0, replace(record, seq=3), events))
    assert await store.calls.pending(10) == [recorded("sevt_a", record), recorded("sevt_b", record)]
    assert await store.calls.pending(1) == [recorded("sevt_a", record)]
    await store.calls.settle(["sevt_a", "sevt_unknown"])
    await store.calls.settle(["sevt_a"])
    assert await store.calls.pending(10) == [recorded("sevt_b", record)]


async def test_a_commit_that_is_refused_leaves_no_call(store: AnyStore) -> None:
    lease, record = await _begun(store)
    with pytest.raises(LogConflict):
        await store.log.append(Commit(lease, 5, replace(record, seq=6), (result_of("sevt_a"),)))
    assert await store.calls.pending(10) == []


async def test_calls_outlive_their_session(store: AnyStore) -> None:
    lease, record = await _begun(store)
    await store.log.append(Commit(lease, 0, replace(record, seq=1), (result_of("sevt_a"),)))
    await store.log.delete(lease, ids.SessionId(record.id))
    assert await store.calls.pending(10) == [recorded("sevt_a", record)]


async def test_calls_elsewhere_and_of_web_tools_are_named_for_what_ran_them(store: AnyStore) -> None:
    lease, record = await _begun(store)
    elsewhere, web = result_of("sevt_a", hand="", server="github"), result_of("sevt_b", hand="", server="")
    await store.log.append(Commit(lease, 0, replace(record, seq=2), (elsewhere, web)))
    assert [(each.hand, each.version) for each in await store.calls.pending(10)] == [("mcp:github", ""), ("web", "")]


async def test_the_records_can_be_made_anew_from_the_log_page_by_page(store: AnyStore) -> None:
    lease = await claimed(store)
    expected: list[CallRecord] = []
    for number in range(3):
        record = session(principal="acme")
        await store.log.create(Commit(lease, 0, record))
        plain = Event(ids.new_event_id(), EventType.AGENT_TOOL_RESULT, {"tool_use_id": f"plain_{number}"}, T0)
        call_ids = [f"sevt_{number}_{part}" for part in range(2)]
        events = (result_of(call_ids[0]), plain, result_of(call_ids[1]))
        await store.log.append(Commit(lease, 0, replace(record, seq=3), events))
        expected += [recorded(call_id, record) for call_id in call_ids]
    found: list[CallRecord] = []
    place: LogPlace | None = LogPlace()
    pages = 0
    while place is not None:
        page = await store.calls.logged(place, 2)
        found, place, pages = [*found, *page.calls], page.after, pages + 1
    assert sorted(found, key=lambda call: call.key) == expected
    assert pages == 5
    assert sorted(await store.calls.pending(10), key=lambda call: call.key) == expected
    assert await store.calls.logged(LogPlace("no\x00session", 1), 2) == LoggedCalls([], None)


# -- calls without a session ---------------------------------------------------------------------


def direct(key: str, outcome: str = "ok", price: int = 2000) -> CallRecord:
    """The call of a client without a session."""
    return replace(recorded(key, session()), session="", outcome=outcome, micro_usd=price)


async def test_a_call_without_a_session_waits_for_the_books_once_it_has_ended(
    store: AnyStore, clock: ManualClock
) -> None:
    until = clock.now() + timedelta(seconds=60)
    await store.calls.begin(direct("call_a", "ambiguous", 0), until)
    await store.calls.begin(direct("call_a", "ambiguous", 0), until)
    assert await store.calls.pending(10) == []
    for _ in range(2):
        await store.calls.end(direct("call_a"), begun=True)
        await store.calls.end(direct("call_b", "failed"), begun=False)
        assert await store.calls.pending(10) == [direct("call_a"), direct("call_b", "failed")]
    await store.calls.settle(["call_a", "call_b"])
    clock.advance(61)
    assert await store.calls.pending(10) == []


async def test_a_call_that_nobody_ends_waits_as_it_began_when_its_time_is_over(
    store: AnyStore, clock: ManualClock
) -> None:
    began = direct("call_a", "ambiguous", 0)
    await store.calls.begin(began, clock.now() + timedelta(seconds=60))
    await store.calls.end(direct("call_b"), begun=False)
    clock.advance(60)
    assert await store.calls.pending(10) == [began, direct("call_b")]
    # The books may have it by now: a call has one record and no other.
    with pytest.raises(Conflict):
        await store.calls.end(direct("call_a"), begun=True)
    assert await store.calls.pending(1) == [began]
    await store.calls.settle(["call_a", "call_b"])
    assert await store.calls.pending(10) == []
    with pytest.raises(Conflict):
        await store.calls.end(direct("call_a"), begun=True)
    assert await store.calls.pending(10) == []
