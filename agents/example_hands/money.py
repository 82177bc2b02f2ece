"""Amounts of money as the tools take and give them: text with two decimals, so that no float rounds a cent away."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

Amount = Annotated[
    str, Field(pattern=r"^[0-9]{1,9}\.[0-9]{2}$", description="Amount as text with two decimals, such as 49.00")
]


def cents_of(field: str, amount: str) -> int:
    """Return an amount that must be more than nothing, in cents. Raises ToolError."""
    whole, _, part = amount.partition(".")
    cents = int(whole) * 100 + int(part)
    if cents == 0:
        raise ToolError(f"{field}: must be more than 0.00")
    return cents


def amount_of(cents: int) -> str:
    """Return cents, also fewer than none, as text."""
    whole, part = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{part:02d}"
