"""A :class:`BrainRequest` as the body of a Messages-API request, with prompt-cache breakpoints.

A body that a client made itself is sent as it is, marks and all; only the model's name is the brain's.

The API caches a prefix up to a marked block; at most four marks are allowed. The stable prefix is
the tools, then the system prompt, then the conversation so far. Marked are the ends of the tools,
of the system prompt, of the newest user message, and of the user message before it: that one is
where the previous request wrote its entry, so it is found even when a turn of many parallel tool
calls adds more blocks than the API looks back. The caller's lists are never changed.
"""

from __future__ import annotations

from typing import Any

from agents.brains.port import BrainRequest, content_blocks

DEFAULT_EFFORT = "high"
FAST_MODE_BETA = "fast-mode-2026-02-01"

_MARK = {"type": "ephemeral"}
_MARKABLE = frozenset({"text", "image", "document", "tool_result", "tool_use"})
_MARKED_MESSAGES = 2
_NOT_COUNTED = frozenset({"max_tokens", "stream", "inference_geo"})
"""Fields that the counting call does not take, of those that are made here; a client's own body has none of them."""


def request_body(request: BrainRequest) -> dict[str, Any]:
    """Build the JSON body of a streaming request."""
    if request.body is not None:
        return {**request.body, "model": request.model, "stream": True}
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": _marked_messages(request.messages),
        "stream": True,
    }
    if request.system:
        body["system"] = [{"type": "text", "text": request.system, "cache_control": _MARK}]
    if request.tools:
        body["tools"] = [*request.tools[:-1], {**request.tools[-1], "cache_control": _MARK}]
    if request.effort and request.effort != DEFAULT_EFFORT:
        body["output_config"] = {"effort": request.effort}
    if request.speed == "fast":
        body["speed"] = "fast"
    if request.inference_geo:
        body["inference_geo"] = request.inference_geo
    return body


def counting_body(request: BrainRequest) -> dict[str, Any]:
    """Build the JSON body of the question how many tokens a request has."""
    body = request_body(request)
    return {name: value for name, value in body.items() if name not in _NOT_COUNTED}


def request_headers(request: BrainRequest) -> dict[str, str]:
    """Headers beyond those of every request."""
    betas = [*request.betas, *([FAST_MODE_BETA] if request.speed == "fast" else [])]
    return {"anthropic-beta": ",".join(dict.fromkeys(betas))} if betas else {}


def _marked_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    marked = list(messages)
    left = _MARKED_MESSAGES
    for place in range(len(messages) - 1, -1, -1):
        if not left:
            break
        if messages[place]["role"] != "user":
            continue
        content = _marked_content(messages[place]["content"])
        if content is not None:
            marked[place] = {**messages[place], "content": content}
            left -= 1
    return marked


def _marked_content(content: str | list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """A copy whose last markable block is marked, or None when there is no such block."""
    blocks = content_blocks(content)
    for place in range(len(blocks) - 1, -1, -1):
        block = blocks[place]
        empty = block["type"] == "text" and not block["text"]
        if block["type"] in _MARKABLE and not empty:
            return [*blocks[:place], {**block, "cache_control": _MARK}, *blocks[place + 1 :]]
    return None
