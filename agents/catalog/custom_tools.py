"""Custom tools run at the client; their schemas must be ones that every brain accepts (spec C.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from agents.catalog.toolsets import BUILTIN_TOOLS
from agents.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_DATA_KEYWORDS = frozenset({"const", "default", "enum", "example", "examples"})


def resolve_custom_tool(where: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a custom tool as responses show it. Raises InvalidRequest."""
    name: str = tool["name"]
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"{where}.name: must have 1 to 128 letters, digits, underscores or hyphens")
    if name in BUILTIN_TOOLS:
        raise InvalidRequest(f"{where}.name: {name} is the name of a built-in tool")
    if name.startswith("mcp__"):
        raise InvalidRequest(f"{where}.name: the prefix mcp__ is reserved for tools of MCP servers")
    if not tool["description"].strip():
        raise InvalidRequest(f"{where}.description: must not be empty")
    return {
        "type": "custom",
        "name": name,
        "description": tool["description"],
        "input_schema": _schema(f"{where}.input_schema", tool["input_schema"]),
    }


def _schema(where: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    for keyword in ("oneOf", "anyOf", "allOf"):
        if keyword in schema:
            raise InvalidRequest(f"{where}.{keyword}: is not allowed at the top level; describe one object")
    for name in cast("dict[str, Any]", schema.get("properties") or {}):
        if not _PROPERTY.fullmatch(name):
            raise InvalidRequest(f"{where}.properties: {name[:80]!r} must match [A-Za-z0-9_.-] with 1 to 64 characters")
    _check_no_references(where, schema)
    # The optional keywords may be sent as null, which no JSON-Schema reader accepts.
    return {key: value for key, value in schema.items() if not (key in ("properties", "required") and value is None)}


def _check_no_references(where: str, schema: Mapping[str, Any]) -> None:
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(cast("list[Any]", node))
        elif isinstance(node, dict):
            members = cast("dict[str, Any]", node)
            found = sorted(_REFERENCES.intersection(members))
            if found:
                raise InvalidRequest(f"{where}: the keyword {found[0]} is not allowed; write the schema out")
            waiting.extend(value for key, value in members.items() if key not in _DATA_KEYWORDS)
