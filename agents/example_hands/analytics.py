"""Analytics as a hand: questions about sales and support over Parquet files, answered with Arrow tables.

The files lie in the folder that ``ANALYTICS_DATA`` names; without it, demonstration data are written below
``EXAMPLE_HANDS_DIR``. The model sees the head of each table; the platform gets the table itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult
from pydantic import Field
from typing_extensions import TypedDict

from agents.example_hands.analytics_data import LAST_WRITTEN, write_demonstration
from agents.example_hands.query_engine import QueryEngine
from agents.example_hands.storage import data_folder
from agents.example_hands.tool_building import reading_tool
from agents.hands.tables import table_result

Ctx = Context[QueryEngine, Any]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="A month, such as 2026-03")]
FOLDER = "ANALYTICS_DATA"

_REVENUE = """
SELECT strftime(month, '%Y-%m') AS month, plan, count(DISTINCT customer_id) AS customers, sum(amount) AS revenue
FROM revenue
WHERE strftime(month, '%Y-%m') BETWEEN ? AND ?
GROUP BY ALL
ORDER BY ALL
"""
_CHURN = """
WITH months AS (SELECT DISTINCT month FROM revenue WHERE strftime(month, '%Y-%m') BETWEEN ? AND ?)
SELECT
    strftime(months.month, '%Y-%m') AS month,
    count(*) FILTER (customers.joined < months.month) AS customers_at_start,
    count(*) FILTER (customers."left" = months.month) AS customers_lost,
    round(customers_lost / nullif(customers_at_start, 0), 4) AS churn
FROM months JOIN customers
    ON customers.joined <= months.month AND (customers."left" IS NULL OR customers."left" >= months.month)
GROUP BY months.month
ORDER BY months.month
"""
_TOP = """
SELECT customer_id, company, any_value(revenue.plan) AS plan, sum(amount) AS revenue, count(*) AS months
FROM revenue JOIN customers USING (customer_id)
WHERE strftime(month, '%Y-%m') BETWEEN ? AND ?
GROUP BY customer_id, company
ORDER BY revenue DESC, customer_id
LIMIT ?
"""


class Column(TypedDict):
    name: str
    type: str


class TableDescription(TypedDict):
    table: str
    columns: list[Column]


async def list_tables(ctx: Ctx) -> list[TableDescription]:
    """List the tables that query can read, with their columns."""
    found = await _engine(ctx).tables()
    return [
        {"table": table, "columns": [{"name": name, "type": kind} for name, kind in columns]}
        for table, columns in found.items()
    ]


async def query(
    ctx: Ctx,
    sql: Annotated[str, Field(min_length=1, max_length=20_000, description="One SELECT statement, DuckDB's dialect")],
    max_rows: Annotated[int, Field(ge=1, le=10_000)] = 1000,
) -> CallToolResult:
    """Run one SELECT over the tables that list_tables names. The answer shows its first rows; nothing is written."""
    return await _answer(ctx, "", sql, rows=max_rows)


async def revenue_by_month(ctx: Ctx, first: Month = "0001-01", last: Month = "9999-12") -> CallToolResult:
    """Revenue and paying customers by month and plan, between two months (both included)."""
    return await _answer(ctx, "Revenue by month and plan, US dollars", _REVENUE, *_span(first, last))


async def churn(ctx: Ctx, first: Month = "0001-01", last: Month = "9999-12") -> CallToolResult:
    """Customers at the start of each month, how many of them left in it, and their part."""
    return await _answer(ctx, "Churn by month", _CHURN, *_span(first, last))


async def top_customers(
    ctx: Ctx,
    first: Month = "0001-01",
    last: Month = "9999-12",
    count: Annotated[int, Field(ge=1, le=100)] = 10,
) -> CallToolResult:
    """The customers who paid most between two months (both included)."""
    return await _answer(ctx, "Customers by revenue, US dollars", _TOP, *_span(first, last), count)


def _engine(ctx: Ctx) -> QueryEngine:
    return ctx.request_context.lifespan_context


def _span(first: str, last: str) -> tuple[str, str]:
    if last < first:
        raise ToolError(f"last: {last} is before first, {first}")
    return first, last


async def _answer(ctx: Ctx, title: str, sql: str, *values: object, rows: int | None = None) -> CallToolResult:
    answer = await _engine(ctx).run(sql, values, rows=rows)
    cut = f"The first {answer.table.num_rows} rows; there are more." if answer.more else ""
    return table_result(answer.table, title=" ".join(filter(None, [title, cut])))


@asynccontextmanager
async def _lifespan(server: MCPServer[QueryEngine]) -> AsyncGenerator[QueryEngine]:
    del server
    engine = QueryEngine(await asyncio.to_thread(_folder))
    try:
        yield engine
    finally:
        await engine.close()


def _folder() -> Path:
    if configured := os.environ.get(FOLDER):
        folder = Path(configured).expanduser().absolute()
        if not folder.is_dir():
            raise ValueError(f"{FOLDER}: there is no folder {folder}")
        return folder
    folder = data_folder("analytics")
    if not (folder / LAST_WRITTEN).exists():
        write_demonstration(folder)
    return folder


server: MCPServer[QueryEngine] = MCPServer(
    "analytics",
    title="Analytics",
    version="1.0",
    instructions="Sales and support figures. Ask list_tables before query; answers show the head of their table.",
    log_level="WARNING",
    lifespan=_lifespan,
    tools=[
        reading_tool(list_tables, "List tables"),
        reading_tool(query, "Query with SQL"),
        reading_tool(revenue_by_month, "Revenue by month"),
        reading_tool(churn, "Churn by month"),
        reading_tool(top_customers, "Top customers"),
    ],
)
