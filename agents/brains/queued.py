"""A brain with a bounded number of places before it, dealt out fairly (law 9)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from agents.brains.fair_queue import FairQueue
from agents.brains.port import Brain, BrainRequest, Standing, closing
from agents.config import BrainSettings


class QueuedBrain:
    """Thinks as *brain* does, at most *places* requests at a time."""

    def __init__(self, brain: Brain, places: int, settings: BrainSettings) -> None:
        self._brain = brain
        self._most = places
        self._places = FairQueue(
            places,
            most_waiting=settings.max_waiting_requests,
            patience=settings.waiting_timeout_seconds,
        )

    @property
    def standing(self) -> Standing:
        """How it stands: one replica, which is always there."""
        return Standing(1, self._most, self._places.taken, self._places.waiting)

    async def think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        """See Brain.think; also raises BrainFailure (overloaded) when no place comes free."""
        async with self._places.place(request.principal), closing(self._brain.think(request)) as events:
            async for event in events:
                yield event
