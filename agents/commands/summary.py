"""What a session used and cost, as the API reports it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rich.table import Table

from agents.commands.timeline import part


def money(amount: Mapping[str, Any]) -> str:
    """Format an API amount (whole cents as a string)."""
    if not amount:
        return "unknown"
    return f"{Decimal(str(amount.get('amount', 0))) / 100:.2f} {amount.get('currency', '')}".strip()


def usage_rows(session: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and value of everything worth knowing about the use of a session."""
    usage, stats = part(session, "usage"), part(session, "stats")
    creation = part(usage, "cache_creation")
    written = sum(int(value or 0) for value in creation.values())
    return [
        ("input tokens", f"{usage.get('input_tokens') or 0:,}"),
        ("  read from cache", f"{usage.get('cache_read_input_tokens') or 0:,}"),
        ("  written to cache", f"{written:,}"),
        ("output tokens", f"{usage.get('output_tokens') or 0:,}"),
        ("active", f"{usage.get('active_seconds') or 0:.2f} s of {stats.get('duration_seconds') or 0:.2f} s"),
        ("list cost", money(part(usage, "list_cost"))),
    ]


def usage_table(session: Mapping[str, Any]) -> Table:
    """Return the usage as a table without borders."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    for label, value in usage_rows(session):
        table.add_row(label, value)
    return table
