"""What this platform says to MCP clients: the other way of ``agents.hands.servers.content``. It needs the MCP SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_types import (
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)

from agents.hands.servers.port import OfferedTool, ServerResult

_NAMELESS = "hecaton://document"


def mcp_tool(tool: OfferedTool) -> Tool:
    """Return an offered tool as MCP lists it."""
    hints = ToolAnnotations(
        read_only_hint=tool.read_only,
        idempotent_hint=tool.idempotent,
        destructive_hint=tool.destructive,
        open_world_hint=tool.open_world,
    )
    return Tool(name=tool.name, description=tool.description, input_schema=tool.input_schema, annotations=hints)


def mcp_result(result: ServerResult) -> CallToolResult:
    """Return a result as MCP gives it."""
    return CallToolResult(content=[_content(block) for block in result.content], is_error=result.is_error)


def _content(block: Mapping[str, Any]) -> ContentBlock:
    if block["type"] == "text":
        return TextContent(text=block["text"])
    source: Mapping[str, str] = block["source"]
    if block["type"] == "image":
        return ImageContent(data=source["data"], mime_type=source["media_type"])
    uri, kind = block.get("title") or _NAMELESS, source["media_type"]
    if source["type"] == "text":
        return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=kind, text=source["data"]))
    return EmbeddedResource(resource=BlobResourceContents(uri=uri, mime_type=kind, blob=source["data"]))
