"""Counting tokens: by the engine that can, by an estimate for one that cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agents.brains.counting import count_tokens, estimate
from agents.brains.port import BrainRequest

REQUEST = BrainRequest("s", "m", [{"role": "user", "content": "x" * 400}])


class Mute:
    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        raise NotImplementedError


class Counting(Mute):
    async def count_tokens(self, request: BrainRequest) -> int:
        return 7


async def test_an_engines_own_count_goes_before_the_estimate() -> None:
    assert await count_tokens(Counting(), REQUEST) == 7
    assert 100 <= await count_tokens(Mute(), REQUEST) <= 120


def test_system_prompt_and_tools_count_too() -> None:
    more = BrainRequest("s", "m", REQUEST.messages, system="y" * 400, tools=[{"name": "t", "description": "z" * 400}])
    assert estimate(more) - estimate(REQUEST) >= 200
    assert estimate(BrainRequest("s", "m", [])) >= 1
