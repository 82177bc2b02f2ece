"""What brains are asked and answer in tests."""

from __future__ import annotations

import asyncio
from typing import Any

from agents.brains.assembly import Answer, AnswerAssembler
from agents.brains.port import Brain, BrainRequest

_PATIENCE = 20.0


def user(text: str) -> dict[str, Any]:
    """A user's message, as the loop has it in a request."""
    return {"role": "user", "content": [{"type": "text", "text": text}]}


async def answer_of(brain: Brain, request: BrainRequest) -> Answer:
    """The whole answer. Raises BrainFailure; TimeoutError when it does not end."""
    assembler = AnswerAssembler()
    async with asyncio.timeout(_PATIENCE):
        async for event in brain.think(request):
            assembler.feed(event)
    return assembler.finish()
