"""The analytics hand (ours): its answers, and what its SQL can not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcp import Client
from mcp.server.mcpserver.exceptions import ToolError

from agents.example_hands.analytics import server
from agents.example_hands.demonstration import MONTHS, PLANS, customers
from agents.example_hands.query_engine import Answer, QueryEngine, QueryLimits
from agents.hands.tables import take_tables


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("analytics")


async def _ask(monkeypatch: pytest.MonkeyPatch, world: Path, tool: str, **arguments: Any) -> Any:
    monkeypatch.setenv("EXAMPLE_HANDS_DIR", str(world))
    async with Client(server) as client:
        return await client.call_tool(tool, arguments)


async def test_revenue_is_what_the_customers_of_a_month_paid(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    result = await _ask(monkeypatch, world, "revenue_by_month", first="2026-09", last="2026-09")
    (table,) = take_tables(result.meta)
    expected: dict[str, list[int]] = {}
    for customer in customers():
        if MONTHS - 1 in customer.months:
            expected.setdefault(customer.plan, []).append(PLANS[customer.plan])
    rows = table.to_pylist()
    assert {row["plan"]: (row["customers"], int(row["revenue"] * 100)) for row in rows} == {
        plan: (len(prices), sum(prices)) for plan, prices in expected.items()
    }
    assert result.content[0].text.startswith("Revenue by month and plan, US dollars\n\n| month | plan |")
    assert result.content[0].text.endswith("(3 rows)")


async def test_churn_is_who_left_of_those_who_were_there(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    (table,) = take_tables((await _ask(monkeypatch, world, "churn")).meta)
    rows = table.to_pylist()
    lost = [sum(each.left == month for each in customers()) for month in range(MONTHS)]
    there = [
        sum(each.joined < month and (each.left or MONTHS) >= month for each in customers()) for month in range(MONTHS)
    ]
    assert [row["customers_lost"] for row in rows] == lost
    assert [row["customers_at_start"] for row in rows] == there
    assert sum(lost) > 3
    assert rows[-1]["churn"] == pytest.approx(lost[-1] / there[-1], abs=1e-4)


async def test_the_best_customers_come_in_order(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    (table,) = take_tables((await _ask(monkeypatch, world, "top_customers", count=5)).meta)
    revenue = {each.id: PLANS[each.plan] * len(each.months) for each in customers()}
    best = sorted(revenue, key=lambda customer: (-revenue[customer], customer))[:5]
    assert [row["customer_id"] for row in table.to_pylist()] == best


async def test_a_query_returns_the_whole_table_and_shows_its_head(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    asked = "SELECT ticket_id FROM tickets ORDER BY ticket_id"
    result = await _ask(monkeypatch, world, "query", sql=asked, max_rows=200)
    (table,) = take_tables(result.meta)
    assert table.num_rows == 200
    assert result.content[0].text.startswith("The first 200 rows; there are more.")
    assert "(20 of 200 rows shown)" in result.content[0].text


async def test_the_tables_are_told_with_their_columns(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    told = (await _ask(monkeypatch, world, "list_tables")).structured_content["result"]
    assert [each["table"] for each in told] == ["customers", "revenue", "tickets"]
    assert {"name": "amount", "type": "decimal128(12, 2)"} in told[1]["columns"]


async def test_wrong_arguments_are_told_by_field(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    for tool, arguments, field in [
        ("churn", {"first": "2026-13"}, "first"),
        ("churn", {"first": "2026-03", "last": "2026-01"}, "last: "),
        ("query", {"sql": "SELECT nope FROM tickets"}, "nope"),
        ("query", {"sql": "SELECT 1", "max_rows": 0}, "max_rows"),
    ]:
        result = await _ask(monkeypatch, world, tool, **arguments)
        assert result.is_error
        assert field in result.content[0].text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    inside.mkdir()
    pq.write_table(pa.table({"n": range(5)}), inside / "numbers.parquet")
    (tmp_path / "secret.csv").write_text("canary\n4711\n")
    return inside


@pytest.mark.parametrize(
    "sql",
    [
        "COPY numbers TO '{folder}/out.csv'",
        "WITH x AS (COPY numbers TO '{folder}/out.csv') SELECT 1",
        "SELECT * FROM read_csv('{folder}/../secret.csv')",
        "SELECT * FROM '{folder}/../secret.csv'",
        "SELECT * FROM read_parquet('{folder}/numbers.parquet')",
        "SELECT content FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/*')",
        "ATTACH '{folder}/other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '8GB'",
        "PRAGMA database_list",
        "CREATE TABLE x (n INTEGER)",
        "DROP VIEW numbers",
        "SELECT 1; SELECT 2",
        "SELECT * FROM monkey",
        "",
    ],
)
async def test_sql_reaches_nothing_but_the_tables(folder: Path, sql: str) -> None:
    monkey = pa.table({"a": [1]})  # what runs queries must not find the variables of who calls it
    engine = QueryEngine(folder)
    with pytest.raises(ToolError, match="sql: "):
        await engine.run(sql.format(folder=folder))
    await engine.close()
    assert monkey.num_rows == 1
    assert [path.name for path in folder.iterdir()] == ["numbers.parquet"]


async def test_a_query_is_stopped_by_time_memory_and_rows_and_the_next_one_runs(folder: Path) -> None:
    engine = QueryEngine(folder, QueryLimits(seconds=0.2, memory_mb=40, rows=3, at_a_time=1))
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range = 13"
    with pytest.raises(ToolError, match="longer than"):
        await engine.run(endless)
    answer = await _patiently(engine, "SELECT n FROM numbers ORDER BY n DESC")
    assert answer.table.column(0).to_pylist() == [4, 3, 2]
    assert answer.more
    await engine.close()
    engine = QueryEngine(folder, QueryLimits(seconds=60, memory_mb=40))
    with pytest.raises(ToolError, match="more than 40 MB"):
        await engine.run("SELECT list(range) FROM range(20000000)")
    await engine.close()


async def _patiently(engine: QueryEngine, sql: str) -> Answer:
    """Ask until the engine's only thread is free, which it never is while the query before goes on."""
    for _ in range(50):
        try:
            return await engine.run(sql)
        except ToolError:
            continue
    raise AssertionError("the thread is not free")
