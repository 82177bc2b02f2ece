"""What every meter promises (port: agents.economics.meter.Meter)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from store_records import T0, AnyStore, Reopen

from agents.economics.meter import MeterKind, MeterRow, MeterTotal, Spending, minute_of
from agents.ids import SessionId

ONE, TWO = SessionId("sesn_1"), SessionId("sesn_2")


def request(key: str, session_id: SessionId = ONE, **changes: int) -> MeterRow:
    quantities = {"input_tokens": 10, "output_tokens": 3, "micro_usd": 7, **changes}
    return MeterRow(key, session_id, MeterKind.MODEL_REQUEST, "claude-x", T0, **quantities)  # type: ignore[arg-type]


async def test_totals_add_up_by_kind_and_name_for_a_session_or_all(store: AnyStore) -> None:
    await store.meter.record(
        [
            request("a", cache_read_input_tokens=5, cache_creation_5m_input_tokens=6, cache_creation_1h_input_tokens=7),
            request("b"),
            request("c", TWO, micro_usd=2**40),
            MeterRow("d", ONE, MeterKind.TOOL_CALL, "bash", T0, seconds=0.1),
            MeterRow("e", ONE, MeterKind.TOOL_CALL, "bash", T0, seconds=0.2),
            MeterRow("f", TWO, MeterKind.SANDBOX_SECONDS, "cloud", T0, seconds=3600.000001),
        ]
    )
    bash = MeterTotal(MeterKind.TOOL_CALL, "bash", count=2, seconds=0.3)
    cached: dict[str, Any] = {
        "cache_read_input_tokens": 5,
        "cache_creation_5m_input_tokens": 6,
        "cache_creation_1h_input_tokens": 7,
    }
    mine = MeterTotal(MeterKind.MODEL_REQUEST, "claude-x", 2, input_tokens=20, output_tokens=6, micro_usd=14, **cached)
    assert await store.meter.totals(ONE) == [mine, bash]
    assert await store.meter.totals() == [
        MeterTotal(
            MeterKind.MODEL_REQUEST, "claude-x", 3, input_tokens=30, output_tokens=9, micro_usd=14 + 2**40, **cached
        ),
        MeterTotal(MeterKind.SANDBOX_SECONDS, "cloud", 1, seconds=3600.000001),
        bash,
    ]


async def test_the_brains_that_answered_are_added_up_apart(store: AnyStore) -> None:
    rows = [replace(request(key), brain=brain) for key, brain in [("a", "small@1"), ("b", "big@2"), ("c", "small@1")]]
    await store.meter.record([*rows, request("d")])
    totals = await store.meter.totals(ONE)
    assert [(total.name, total.brain, total.count) for total in totals] == [
        ("claude-x", "", 1),
        ("claude-x", "big@2", 1),
        ("claude-x", "small@1", 2),
    ]


async def test_spending_is_told_by_declared_brain_and_minute(store: AnyStore) -> None:
    minute = minute_of(T0)
    rows = [
        ("a", "big@1", -61),
        ("b", "big@1", 0),
        ("c", "big@1", 59),
        ("d", "big@1", 60),
        ("e", "big@2", 0),
        ("f", "", 0),
    ]
    await store.meter.record(
        [replace(request(key), brain=brain, at=T0 + timedelta(seconds=s)) for key, brain, s in rows]
    )
    spent = [Spending("big@1", minute, 14), Spending("big@1", minute + 1, 7), Spending("big@2", minute, 7)]
    assert await store.meter.spending(minute) == spent
    assert await store.meter.spending(minute + 1) == spent[1:2]
    assert len(await store.meter.spending(0)) == 4


async def test_nothing_recorded_adds_up_to_nothing(store: AnyStore) -> None:
    await store.meter.record([])
    for nobody in (ONE, SessionId("\x00"), None):
        assert await store.meter.totals(nobody) == []


async def test_a_key_counts_once_however_often_it_is_recorded(store: AnyStore) -> None:
    await store.meter.record([request("a"), request("a", input_tokens=99)])
    await store.meter.flush()
    await store.meter.record([request("a", input_tokens=99), request("b")])
    (total,) = await store.meter.totals(ONE)
    assert (total.count, total.input_tokens) == (2, 20)


async def test_two_processes_count_one_key_once(reopen: Reopen) -> None:
    first, second = await reopen(), await reopen()
    await first.meter.record([request("a")])
    await second.meter.record([request("a"), request("b")])
    await second.meter.flush()
    (total,) = await first.meter.totals()
    assert total.count == 2


async def test_closing_writes_what_waits(reopen: Reopen) -> None:
    first = await reopen()
    await first.meter.record([request("a")])
    await first.meter.close()
    (total,) = await (await reopen()).meter.totals()
    assert total.count == 1
