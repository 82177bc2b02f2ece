"""What calls of servers cost (ours)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from agents.economics.call_prices import PricedServers, cost
from agents.economics.price_book import PriceBook
from agents.errors import Unavailable
from agents.governance.contract import Price
from agents.hands.servers.port import (
    Caller,
    Consumption,
    NoServers,
    Outcome,
    ServerCall,
    ServerResult,
    ServerUnreachable,
    ToolServer,
)

PRICE = Price(
    per_call=Decimal("0.002"),
    per_cpu_second=Decimal("0.01"),
    per_mb=Decimal("0.5"),
    cached_rate=Decimal("0.25"),
    provider_share=Decimal("0.8"),
)
TOOK = Consumption(queue_seconds=3, run_seconds=2, cpu_seconds=0.5, bytes_in=1_000, bytes_out=9_000)


@pytest.mark.parametrize(
    ("price", "took", "expected"),
    [
        (PRICE, TOOK, (2_000 + 5_000 + 5_000, 9_600)),
        (PRICE, replace(TOOK, cached=True), (500, 400)),
        (Price(), TOOK, (0, 0)),
        (Price(per_call=Decimal("0.0000005")), TOOK, (1, 1)),
        (Price(per_call=Decimal("0.000000499")), TOOK, (0, 0)),
        (Price(per_call=Decimal("0.000003"), provider_share=Decimal("0.5")), TOOK, (3, 2)),
        # Not what the nearest floats would make of it.
        (Price(per_cpu_second=Decimal(1)), Consumption(cpu_seconds=0.1 + 0.2), (300_000, 300_000)),
    ],
)
def test_a_call_costs_what_it_took_rounded_once(price: Price, took: Consumption, expected: tuple[int, int]) -> None:
    assert cost(price, took) == expected


class _Servers(NoServers):
    def __init__(self, outcome: Outcome) -> None:
        self._outcome: Outcome = outcome
        self.calls = 0

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        self.calls += 1
        return ServerResult(call.call_id, [], outcome=self._outcome, consumption=TOOK)


BOOK = PriceBook({}, 0, hands={"crm": Price(per_call=Decimal(1)), "crm@2": Price(per_call=Decimal(2))})
CONTRACT = """
hand: crm
version: "1"
tools: {t: {input: {type: object}}}
"""


async def _priced(hand: str, contract: str = "", outcome: Outcome = "ok") -> int:
    async def text(_: str) -> str:
        return contract

    call = ServerCall("sevt_1", ToolServer("crm", "hand://crm"), "t", {}, 10.0, hand)
    result = await PricedServers(_Servers(outcome), BOOK, text).call(call, Caller("sesn_1"))
    return result.consumption.micro_usd


async def test_the_contract_counts_then_the_book_by_version_then_by_hand() -> None:
    assert await _priced("crm@1", CONTRACT + "price: {per_call: 0.25}") == 250_000
    assert await _priced("crm@1", CONTRACT + "price: {per_call: 0}") == 0, "a price of nothing is a price"
    assert await _priced("crm@1", CONTRACT) == 1_000_000
    assert await _priced("crm@2") == 2_000_000
    assert await _priced("other@1") == 0
    assert await _priced("") == 0


@pytest.mark.parametrize("outcome", ["ok", "tool_error", "failed", "ambiguous", "cancelled"])
async def test_only_calls_that_were_answered_are_billed(outcome: Outcome) -> None:
    assert await _priced("crm@1", outcome=outcome) == (1_000_000 if outcome in ("ok", "tool_error") else 0)


async def test_a_call_is_not_run_when_nobody_knows_its_price_and_the_price_is_asked_for_once() -> None:
    asked: list[str] = []

    async def text(hand: str) -> str:
        asked.append(hand)
        if len(asked) == 1:
            raise Unavailable("the database is away")
        return ""

    servers = _Servers("ok")
    priced = PricedServers(servers, BOOK, text)
    call = ServerCall("sevt_1", ToolServer("crm", "hand://crm"), "t", {}, 10.0, "crm@1")
    with pytest.raises(ServerUnreachable, match="the price of crm@1"):
        await priced.call(call, Caller("sesn_1"))
    assert servers.calls == 0
    for _ in range(2):
        assert (await priced.call(call, Caller("sesn_1"))).consumption.micro_usd == 1_000_000
    assert asked == ["crm@1", "crm@1"]


@pytest.mark.parametrize(("repeats_are_hits", "billed"), [(False, 1_000_000), (True, 250_000)])
async def test_an_answer_that_was_given_before_costs_a_hit_where_it_has_come_to_its_caller(
    repeats_are_hits: bool, billed: int
) -> None:
    class Repeating(_Servers):
        async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
            return ServerResult(call.call_id, [], consumption=replace(TOOK, repeated=True))

    async def text(_: str) -> str:
        return CONTRACT + "price: {per_call: 1, cached_rate: 0.25}"

    priced = PricedServers(Repeating("ok"), BOOK, text, repeats_are_hits=repeats_are_hits)
    call = ServerCall("sevt_1", ToolServer("crm", "hand://crm"), "t", {}, 10.0, "crm@1")
    used = (await priced.call(call, Caller("sesn_1"))).consumption
    assert (used.micro_usd, used.cached, used.run_seconds > 0) == (billed, repeats_are_hits, not repeats_are_hits)
