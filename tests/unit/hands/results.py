"""Reading results of tool calls."""

from __future__ import annotations

from typing import Any

from agents.hands.port import ToolResult


def said(result: ToolResult) -> str:
    """Return a result's text, without what the server itself has to say."""
    return "".join(block.get("text", "") for block in result.content if not is_notice(block))


def told(result: ToolResult) -> str:
    """Return what the server itself says in a result."""
    return "".join(block["text"] for block in result.content if is_notice(block))


def is_notice(block: dict[str, Any]) -> bool:
    return block.get("text", "").startswith("<system-note>")
