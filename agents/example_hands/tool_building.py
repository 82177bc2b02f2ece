"""Tools that refuse arguments they do not know, and say what repeating them does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import ConfigDict, create_model, field_validator

from agents.hands.servers.port import REPEATS_BY_KEY


def reading_tool(function: Callable[..., Any], title: str) -> Tool:
    """Make a tool that changes nothing."""
    return _tool(function, ToolAnnotations(title=title, read_only_hint=True, idempotent_hint=True))


def writing_tool(
    function: Callable[..., Any], title: str, *, idempotent: bool = False, destructive: bool = False
) -> Tool:
    """Make a tool that changes something, once for each idempotency key.

    *idempotent*: calling it again with the same arguments changes nothing more, whatever the key. *destructive*: what
    was there before is overwritten or gone.
    """
    annotations = ToolAnnotations(
        title=title, read_only_hint=False, idempotent_hint=idempotent, destructive_hint=destructive
    )
    return _tool(function, annotations, meta={REPEATS_BY_KEY: True})


def _tool(function: Callable[..., Any], annotations: ToolAnnotations, meta: dict[str, Any] | None = None) -> Tool:
    annotations.open_world_hint = False  # each of these hands has a database of its own and nothing else
    tool = Tool.from_function(function, annotations=annotations, meta=meta)
    given = tool.fn_metadata.arg_model
    # The SDK's own model passes over what it does not know: a misspelt option would silently not count.
    validators: dict[str, Any] = {"storable": field_validator("*", mode="before")(_storable)}
    strict = create_model(given.__name__, __base__=given, __validators__=validators)
    strict.model_config = ConfigDict(given.model_config, extra="forbid", hide_input_in_errors=True)
    strict.model_rebuild(force=True)
    tool.fn_metadata.arg_model = strict
    tool.parameters = strict.model_json_schema(by_alias=True)
    return tool


def _storable(value: object) -> object:
    """Refuse what PostgreSQL holds in no text, before it tells nobody but the log."""
    if _holds_nul(value):
        raise ValueError("must not hold the character U+0000")
    return value


def _holds_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nul, cast("dict[str, object]", value).values()))
    if isinstance(value, list):
        return any(map(_holds_nul, cast("list[object]", value)))
    return isinstance(value, str) and "\0" in value
