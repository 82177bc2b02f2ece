"""The vocabulary of a Messages-API stream, for the brains that make their own events."""

from __future__ import annotations

from typing import Any

from agents.brains.assembly import TokenUsage


def message_start(message_id: str, model: str, usage: TokenUsage) -> dict[str, Any]:
    """The opening event: the message is empty, the input is already counted."""
    message: dict[str, Any] = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_body(usage) | {"output_tokens": 1},
    }
    return {"type": "message_start", "message": message}


def block_start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def block_delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def text_delta(index: int, text: str) -> dict[str, Any]:
    return block_delta(index, {"type": "text_delta", "text": text})


def input_delta(index: int, partial_json: str) -> dict[str, Any]:
    return block_delta(index, {"type": "input_json_delta", "partial_json": partial_json})


def block_stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason: str, usage: TokenUsage, stop_details: dict[str, Any] | None = None) -> dict[str, Any]:
    """The closing counts and why the answer ends."""
    delta: dict[str, Any] = {"stop_reason": stop_reason, "stop_sequence": None}
    if stop_details is not None:
        delta["stop_details"] = stop_details
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage.output_tokens}}


def message_stop() -> dict[str, Any]:
    return {"type": "message_stop"}


def usage_body(usage: TokenUsage) -> dict[str, Any]:
    """The wire form of a usage."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_5m + usage.cache_creation_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_creation_5m,
            "ephemeral_1h_input_tokens": usage.cache_creation_1h,
        },
    }
