"""A table of one hand's tool as the argument of another's: beside the model, and only for its own principal (ours)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pyarrow as pa
import pytest
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult

from actors import table_shelf as ray_shelf
from actors.table_shelf import TableReferences
from agents.errors import Unavailable
from agents.hands.deployed.running_hand import RunningHand
from agents.hands.deployed.table_shelf import MemoryShelf
from agents.hands.servers.port import ServerResult
from agents.hands.tables import given_table, table_result
from tests.unit.hands.deployed_hands import ANN, call, definition


def server() -> MCPServer:
    made = MCPServer("numbers", log_level="ERROR")

    @made.tool()
    async def make(rows: int) -> CallToolResult:
        return table_result(pa.table({"n": range(rows)}))

    @made.tool()
    def total(tables: list[str]) -> int:
        return sum(sum(given_table(table).column("n").to_pylist()) for table in tables)

    return made


@pytest.fixture
async def hands() -> AsyncIterator[tuple[RunningHand, RunningHand]]:
    """Two hands with one shelf."""
    shelf = MemoryShelf(most=3)
    made = RunningHand("maker@1", server(), definition(), shelf), RunningHand("taker@1", server(), definition(), shelf)
    for hand in made:
        await hand.start()
    yield made
    for hand in made:
        await hand.aclose()


def handle(result: ServerResult) -> str:
    found = re.search(r"table_[0-9a-f]{32}", result.content[-1]["text"])
    assert found is not None, result
    return found[0]


async def test_a_table_goes_from_one_hand_to_another_whole(hands: tuple[RunningHand, RunningHand]) -> None:
    maker, taker = hands
    made = [await maker.call(call(str(number), "make", rows=1000), ANN) for number in range(2)]
    assert "20 of 1000 rows shown" in made[0].content[0]["text"]
    assert made[0].consumption.bytes_out > 8000
    summed = await taker.call(call("sum", "total", tables=[handle(each) for each in made]), ANN)
    assert (summed.content[0]["text"], summed.is_error) == (str(2 * 999 * 500), False)


async def test_another_principal_finds_no_table_and_neither_does_who_comes_too_late(
    hands: tuple[RunningHand, RunningHand],
) -> None:
    maker, taker = hands
    first = handle(await maker.call(call("1", "make", rows=5), ANN))
    stolen = await taker.call(call("2", "total", tables=[first]), replace(ANN, principal="eve", session_id="sesn_eve"))
    assert (stolen.is_error, "there is no table" in stolen.content[0]["text"]) == (True, True)
    for number in range(3):
        await maker.call(call(f"more-{number}", "make", rows=5), ANN)
    late = await taker.call(call("3", "total", tables=[first]), ANN)
    assert (late.is_error, "make it again" in late.content[0]["text"]) == (True, True)


async def test_a_result_stands_also_when_its_table_can_not_be_kept(
    hands: tuple[RunningHand, RunningHand], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the fleet is being replaced")

    monkeypatch.setattr(hands[0]._shelf, "keep", away)
    made = await hands[0].call(call("1", "make", rows=5), ANN)
    assert (len(made.content), made.is_error) == (1, False)


def test_the_fleet_knows_references_within_bounds_and_for_their_principal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_shelf, "_MOST_KEPT", 2)
    known = TableReferences()
    for name in "abc":
        known.keep(name, "ann", [name])
    assert [known.find(name, "ann") for name in "abc"] == [[], ["b"], ["c"]]
    assert known.find("b", "eve") == []
    monkeypatch.setattr(ray_shelf, "_KEPT_SECONDS", -1)
    known.keep("d", "ann", ["d"])
    assert known.find("d", "ann") == []
