"""Kept results of hands: whose they are, when they are used, and what ends them.

Bug class this catches: a result that crosses from one tenant to another, one that is older than what its session
wrote, a failure that is given again, and a call that hangs on somebody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from agents.clock import ManualClock
from agents.errors import Overloaded
from agents.hands.servers.cache import CacheCounts, CachedServers
from agents.hands.servers.memory import MemoryServer, MemoryServers
from agents.hands.servers.port import (
    Caller,
    Consumption,
    OfferedTool,
    Outcome,
    ServerCall,
    ServerLost,
    ServerResult,
    ToolServer,
)
from agents.hands.servers.settings import HandCacheSettings

CRM = ToolServer("crm", "http://crm")
ADA = Caller("sesn_1", "team-a")
HAND = "crm@1.0"
SCHEMA = {"type": "object"}
TOOLS = [
    OfferedTool("find", "", SCHEMA, read_only=True, idempotent=True),
    OfferedTool("peek", "", SCHEMA, read_only=True),
    OfferedTool("put", "", SCHEMA, idempotent=True),
    OfferedTool("charge", "", SCHEMA),
]


class Desk:
    """A hand whose answers are numbered, behind the cache."""

    def __init__(self, **settings: Any) -> None:
        self.runs = 0
        self.outcome: Outcome = "ok"
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()
        self.hand = MemoryServer(TOOLS, HAND, self.run)
        self.servers = MemoryServers(crm=self.hand)
        self.clock = ManualClock()
        self.counts = CacheCounts()
        self.cache = CachedServers(self.servers, HandCacheSettings(**settings), self.clock, self.counts)
        self._ids = iter(range(1000))

    async def run(self, call: ServerCall) -> ServerResult:
        self.runs += 1
        number, outcome = self.runs, self.outcome
        self.begun.set()
        await self.go.wait()
        content = [{"type": "text", "text": f"answer {number}"}]
        used = Consumption(0.5, 1.0, 0.25, 10, 20)
        return ServerResult(call.call_id, content, is_error=outcome != "ok", outcome=outcome, consumption=used)

    def order(self, tool: str = "find", given: dict[str, Any] | None = None, **changes: Any) -> ServerCall:
        call = ServerCall(f"call_{next(self._ids)}", CRM, tool, {"id": 7} if given is None else given, 10.0, HAND)
        return replace(call, **changes)

    async def ask(self, tool: str = "find", given: Any = None, caller: Caller = ADA, **changes: Any) -> ServerResult:
        return await self.cache.call(self.order(tool, given, **changes), caller)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.cache.offer(CRM, ADA)
    yield made
    await made.cache.close()


def words(result: ServerResult) -> str:
    return result.content[0]["text"]


async def test_what_is_kept_answers_again_under_the_new_calls_id_and_is_marked(desk: Desk) -> None:
    first = await desk.ask()
    call = desk.order()
    second = await desk.cache.call(call, replace(ADA, session_id="sesn_2"))

    assert second == ServerResult(call.call_id, first.content, consumption=Consumption(0, 0, 0, 10, 20, cached=True))
    assert not first.consumption.cached
    assert desk.runs == 1
    assert desk.counts.figures["hand_cache_hits"] == desk.counts.figures["hand_cache_misses"] == 1


async def test_the_order_of_an_inputs_keys_does_not_matter(desk: Desk) -> None:
    await desk.ask(given={"a": 1, "b": {"c": 2, "d": 3}})
    await desk.ask(given={"b": {"d": 3, "c": 2}, "a": 1})

    assert desk.runs == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"given": {"id": 8}},
        {"given": {"id": "7"}},
        {"given": {"id": 7, "x": None}},
        {"hand": "crm@1.1"},
        {"caller": replace(ADA, principal="team-b")},
        {"caller": replace(ADA, vault_ids=("vlt_1",))},
    ],
)
async def test_nothing_else_gets_it(desk: Desk, changes: dict[str, Any]) -> None:
    desk.hand.hand = "crm@1.1"
    await desk.cache.offer(CRM, ADA)
    await desk.ask()
    result = await desk.ask(**changes)

    assert (words(result), result.consumption.cached) == ("answer 2", False)


@pytest.mark.parametrize("tool", ["peek", "put", "charge", "unheard-of"])
async def test_only_tools_that_are_annotated_both_ways_are_kept(desk: Desk, tool: str) -> None:
    await desk.ask(tool)
    await desk.ask(tool)

    assert desk.runs == 2


async def test_servers_elsewhere_and_hands_whose_offer_is_not_known_are_not_kept() -> None:
    desk = Desk()
    await desk.ask()
    await desk.ask()
    desk.hand.hand = ""
    await desk.cache.offer(CRM, ADA)
    await desk.ask(hand="")
    await desk.ask(hand="")

    assert desk.runs == 4
    await desk.cache.close()


@pytest.mark.parametrize("outcome", ["tool_error", "failed", "ambiguous", "cancelled"])
async def test_failures_are_not_kept(desk: Desk, outcome: Outcome) -> None:
    desk.outcome = outcome
    await desk.ask()
    desk.outcome = "ok"

    assert (await desk.ask()).outcome == "ok"
    assert desk.runs == 2


async def test_its_time_is_bounded(desk: Desk) -> None:
    await desk.ask()
    desk.clock.advance(59.9)
    await desk.ask()
    assert desk.runs == 1
    desk.clock.advance(0.2)
    await desk.ask()
    assert desk.runs == 2


async def test_with_no_time_nothing_is_kept() -> None:
    desk = Desk(ttl_seconds=0)
    await desk.cache.offer(CRM, ADA)
    await desk.ask()
    await desk.ask()

    assert desk.runs == 2
    await desk.cache.close()


async def test_its_room_is_bounded_and_what_was_unused_longest_goes_first() -> None:
    desk = Desk(max_bytes=10_000)
    await desk.cache.offer(CRM, ADA)
    for number in range(30):
        await desk.ask(given={"id": number})
        await desk.ask(given={"id": 0})

    figures = desk.counts.figures
    assert figures["hand_cache_bytes"] <= 10_000
    assert figures["hand_cache_results"] + figures["hand_cache_evicted"] == 30
    runs = desk.runs
    await desk.ask(given={"id": 0})
    assert desk.runs == runs == 30
    await desk.ask(given={"id": 1})
    assert desk.runs == 31


async def test_what_would_fill_the_room_alone_is_not_kept() -> None:
    desk = Desk(max_bytes=4000)
    await desk.cache.offer(CRM, ADA)
    await desk.ask()

    assert desk.counts.results == 0
    await desk.cache.close()


@pytest.mark.parametrize("outcome", ["ok", "ambiguous"])
async def test_a_write_ends_what_was_read_of_its_hand(desk: Desk, outcome: Outcome) -> None:
    await desk.ask()
    desk.outcome = outcome
    await desk.ask("charge", caller=replace(ADA, principal="team-b"), hand="crm@2.0")
    desk.outcome = "ok"

    assert words(await desk.ask()) == "answer 3"


async def test_a_write_that_is_lost_may_have_written(desk: Desk) -> None:
    await desk.ask()
    desk.hand.call_faults = [ServerLost("gone")]
    with pytest.raises(ServerLost):
        await desk.ask("charge")

    assert words(await desk.ask()) == "answer 2"


async def test_what_was_read_before_a_write_is_given_to_nobody_after_it(desk: Desk) -> None:
    desk.go.clear()
    old = asyncio.create_task(desk.ask())
    await desk.begun.wait()
    write = asyncio.create_task(desk.ask("charge"))
    await asyncio.sleep(0)
    during = asyncio.create_task(desk.ask())
    await asyncio.sleep(0)
    desk.go.set()
    await asyncio.gather(old, write, during)

    assert words(await desk.ask()) == "answer 4"


async def test_identical_calls_under_way_share_one_run(desk: Desk) -> None:
    desk.go.clear()
    asked = [asyncio.create_task(desk.ask()) for _ in range(5)]
    await desk.begun.wait()
    await asyncio.sleep(0)
    desk.go.set()
    results = await asyncio.gather(*asked)

    assert desk.runs == 1
    assert [result.consumption.cached for result in results] == [False] + [True] * 4
    assert len({result.call_id for result in results}) == 5
    assert desk.counts.joined == 4


@pytest.mark.parametrize("fault", [None, Overloaded("full", retry_after=1.0)])
async def test_who_waited_for_one_that_failed_runs_its_own(desk: Desk, fault: Exception | None) -> None:
    desk.go.clear()
    desk.outcome = "tool_error"
    first, second = asyncio.create_task(desk.ask()), asyncio.create_task(desk.ask())
    await desk.begun.wait()
    await asyncio.sleep(0)
    desk.outcome = "ok"
    if fault is not None:
        desk.hand.call_faults = [fault]
    desk.go.set()

    assert (await first).outcome == "tool_error"
    if fault is None:
        assert (await second).outcome == "ok"
    else:
        with pytest.raises(Overloaded):
            await second


async def test_who_waited_for_one_that_nobody_waits_for_any_more_runs_its_own(desk: Desk) -> None:
    desk.go.clear()
    first, second = asyncio.create_task(desk.ask()), asyncio.create_task(desk.ask())
    await desk.begun.wait()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    desk.go.set()

    assert words(await second) == "answer 2"


async def test_nobody_waits_for_anothers_call_beyond_its_own_deadline(desk: Desk) -> None:
    desk.go.clear()
    first = asyncio.create_task(desk.ask())
    await desk.begun.wait()
    late = await desk.ask(deadline=0.0)

    assert (late.outcome, late.is_error) == ("failed", True)
    assert desk.runs == 1
    desk.go.set()
    assert words(await first) == "answer 1"


async def test_input_without_a_canonical_form_goes_through(desk: Desk) -> None:
    for given in ({"id": "\ud800"}, {"id": 10**30}):
        assert not (await desk.ask(given=given)).consumption.cached

    assert (desk.runs, desk.counts.results) == (2, 0)


async def test_calling_off_reaches_the_hand(desk: Desk) -> None:
    call = desk.order()
    desk.cache.cancel([call], ADA)

    assert desk.hand.cancelled == [call.call_id]
