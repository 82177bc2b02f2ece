"""How many tokens a request has: by the engine's own count, else by an estimate."""

from __future__ import annotations

import orjson

from agents.brains.port import Brain, BrainRequest, TokenCounter

CHARACTERS_PER_TOKEN = 4
"""Usual for English text; a tokenizer of one's own says it exactly."""


async def count_tokens(engine: Brain, request: BrainRequest) -> int:
    """Return the tokens of the request's messages, system prompt and tools. Raises BrainFailure."""
    return await engine.count_tokens(request) if isinstance(engine, TokenCounter) else estimate(request)


def estimate(request: BrainRequest) -> int:
    """Return about how many tokens the request has, at least one."""
    shown = len(orjson.dumps([request.system, request.tools, request.messages]))
    return max(1, shown // CHARACTERS_PER_TOKEN)
