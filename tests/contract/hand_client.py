"""Calls of a hand's tools through the SDK's own client, in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from mcp import Client
from mcp_types import CallToolResult, TextContent

from agents.hands.servers.port import IDEMPOTENCY_KEY


class Call(Protocol):
    """Calls a tool; returns its structured result, and for an error its text."""

    def __call__(self, tool: str, key: str | None = None, /, **arguments: Any) -> Awaitable[Any]: ...


@asynccontextmanager
async def hand(server: Any) -> AsyncGenerator[Call]:
    """Run a hand and lend what calls it."""
    async with Client(server) as client:

        async def call(tool: str, key: str | None = None, /, **arguments: Any) -> Any:
            result = await client.call_tool(tool, arguments, meta={IDEMPOTENCY_KEY: key} if key else None)
            return text_of(result) if result.is_error else result.structured_content

        yield call


async def assert_told_by_field(server: Any, wrong: Iterable[tuple[str, dict[str, Any], str]]) -> None:
    """Hold that each of these calls (tool, arguments) is the tool's error and names the field."""
    async with hand(server) as call:
        for tool, arguments, field in wrong:
            told = await call(tool, **arguments)
            assert isinstance(told, str)
            assert field in told.removeprefix(f"Error executing tool {tool}")


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text
