"""What MCP servers say, in this API's words: tools, and results as content blocks (text, image, document).

An MCP result may hold more than the API has blocks for; what has none is named in text, so that the model knows of it.
Whatever a server sends is bounded here, before it reaches a log or a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson

from agents.hands.servers.port import REPEATS_BY_KEY, OfferedTool

if TYPE_CHECKING:
    from mcp_types import BlobResourceContents, CallToolResult, ContentBlock, TextResourceContents, Tool

MOST_TEXT = 4_000_000
"""Characters of all text of one result. A session shows a model less, and keeps the rest in its sandbox."""
MOST_DATA = 7_000_000
"""Characters of base64 of one image or document: the 5 MB that the Messages API takes of an image."""
MOST_DESCRIPTION = 8_000
MOST_SCHEMA = 64_000
"""Characters of a tool's schema as JSON. Some 16 000 tokens, of every request of every session that has the tool."""
NO_OUTPUT = "(no output)"
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_PDF = "application/pdf"

Block = dict[str, Any]


def offered(tools: Iterable[Tool]) -> list[OfferedTool]:
    """Return the tools of a server as they are offered; hints that it does not give are MCP's defaults.

    Those whose schema is beyond the bound are left out: a model could not be shown them.
    """
    return [_offered(tool) for tool in tools if len(orjson.dumps(tool.input_schema)) <= MOST_SCHEMA]


def _offered(tool: Tool) -> OfferedTool:
    hints = tool.annotations
    read_only = bool(hints and hints.read_only_hint)
    return OfferedTool(
        tool.name,
        (tool.description or tool.title or "")[:MOST_DESCRIPTION],
        tool.input_schema,
        read_only=read_only,
        idempotent=bool(hints and hints.idempotent_hint) or (tool.meta or {}).get(REPEATS_BY_KEY) is True,
        # What only reads destroys nothing, whatever its server forgot to say.
        destructive=not read_only and (hints is None or hints.destructive_hint is not False),
        open_world=hints is None or hints.open_world_hint is not False,
    )


def blocks(result: CallToolResult) -> list[Block]:
    """Return a tool's result as content blocks: at least one, and within the bounds."""
    found = [_block(each) for each in result.content]
    if not found and result.structured_content is not None:
        found = [_text(orjson.dumps(result.structured_content).decode())]
    return bounded(found)


def bounded(found: Iterable[Block]) -> list[Block]:
    """Cut text beyond the bound, with a word on how much is missing; empty text goes, for the API refuses it."""
    kept: list[Block] = []
    left, missing = MOST_TEXT, 0
    for block in found:
        holder, key = (block, "text") if block["type"] == "text" else (block["source"], "data")
        if holder["type"] != "text":
            kept.append(block)
            continue
        text: str = holder[key].encode(errors="replace").decode()
        missing += max(0, len(text) - left)
        if shown := text[:left]:
            left -= len(shown)
            kept.append(_text(shown) if holder is block else {**block, "source": {**holder, key: shown}})
    if missing:
        kept.append(_text(f"({missing} more characters were cut off)"))
    return kept or [_text(NO_OUTPUT)]


def _block(part: ContentBlock) -> Block:
    match part.type:
        case "text":
            return _text(part.text)
        case "image":
            return _data("image", part.data, part.mime_type)
        case "audio":
            return _text(f"(audio, {part.mime_type}, is not shown)")
        case "resource_link":
            described = f": {part.description}" if part.description else ""
            return _text(f"{part.title or part.name} <{part.uri}>{described}")
        case "resource":
            return _resource(part.resource)


def _resource(resource: TextResourceContents | BlobResourceContents) -> Block:
    from mcp_types import TextResourceContents

    uri, kind = str(resource.uri), resource.mime_type or ""
    if isinstance(resource, TextResourceContents):
        source = {"type": "text", "media_type": "text/plain", "data": resource.text}
        return {"type": "document", "source": source, "title": uri}
    return _data("document" if kind == _PDF else "image", resource.blob, kind, name=uri)


def _data(block: str, data: str, kind: str, *, name: str = "") -> Block:
    known = kind == _PDF if block == "document" else kind in _IMAGES
    what = " ".join(filter(None, (name, kind or "data of an unknown type")))
    if not known:
        return _text(f"({what}, is not shown)")
    if len(data) > MOST_DATA:
        return _text(f"({what}, is larger than {MOST_DATA} characters and not shown)")
    made: Block = {"type": block, "source": {"type": "base64", "media_type": kind, "data": data}}
    return {**made, "title": name} if block == "document" else made


def _text(text: str) -> Block:
    return {"type": "text", "text": text}
