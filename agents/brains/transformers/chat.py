"""A :class:`BrainRequest` as the conversation that chat templates take.

What is said in one turn is rendered the same in every later turn: nothing here depends on what follows, so the
prompt of a turn begins with the prompt of the turn before (as far as the model's own template leaves it so).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from agents.brains.port import BrainFailure, BrainRequest, Refusal, content_blocks

_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_SAYS_WHAT = {"image": "an image", "document": "a document that is no plain text"}


@dataclass(frozen=True, slots=True)
class Chat:
    """What a chat template is given."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]


def chat_of(request: BrainRequest, *, tools: bool) -> Chat:
    """Return the conversation of a request, with its tools if the model can call any.

    Raises BrainFailure when it holds what a model of text cannot be shown.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": request.system}] if request.system else []
    names: dict[str, str] = {}
    for message in request.messages:
        blocks = content_blocks(message["content"])
        if message["role"] == "assistant":
            names |= {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
            messages.append(_answer(blocks))
        elif message["role"] == "system":
            messages.append({"role": "system", "content": _text(blocks)})
        else:
            messages.extend(_question(blocks, names))
    return Chat(messages, [_tool(tool) for tool in request.tools] if tools else [])


def refused(message: str) -> BrainFailure:
    """The failure of a request that is itself at fault."""
    return BrainFailure("request_failed", message, transient=False, refusal=Refusal(400, message))


def _answer(blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": _text(block for block in blocks if _is_shown(block))}
    thoughts = [block["thinking"] for block in blocks if block["type"] == "thinking"]
    if thoughts:
        message["reasoning_content"] = "\n".join(thoughts)
    calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
    if calls:
        message["tool_calls"] = calls
    return message


def _is_shown(block: Mapping[str, Any]) -> bool:
    return block["type"] not in ("thinking", "redacted_thinking", "tool_use")


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": block["name"], "arguments": block["input"]}
    return {"type": "function", "id": block["id"], "function": function}


def _question(blocks: Iterable[dict[str, Any]], names: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """The results of tools come before what the user says, as the API has it."""
    said: list[dict[str, Any]] = []
    for block in blocks:
        if block["type"] == "tool_result":
            yield _result(block, names)
        else:
            said.append(block)
    if said:
        yield {"role": "user", "content": _text(said)}


def _result(block: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    text = _text(content_blocks(block.get("content") or ""))
    call_id = block["tool_use_id"]
    content = f"Error: {text}" if block.get("is_error") else text
    return {"role": "tool", "tool_call_id": call_id, "name": names.get(call_id, ""), "content": content}


def _text(blocks: Iterable[dict[str, Any]]) -> str:
    return "\n".join(_shown(block) for block in blocks)


def _shown(block: Mapping[str, Any]) -> str:
    kind: str = block["type"]
    if kind == "text":
        return block["text"]
    source = cast("Mapping[str, Any]", block.get("source") or {})
    if kind == "document" and source.get("type") == "text":
        return "\n".join(part for part in (block.get("title"), source["data"]) if part)
    if kind in _SAYS_WHAT:
        raise refused(f"The model reads text only; the conversation holds {_SAYS_WHAT[kind]}.")
    # Search results and whatever the API adds later.
    return orjson.dumps(dict(block)).decode()


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {
        "name": tool["name"],
        "description": tool.get("description") or "",
        "parameters": tool.get("input_schema") or _NO_PARAMETERS,
    }
    return {"type": "function", "function": function}
