"""Places for whole turns: what a monolith's turn holds from its first model request until it ends.

With brains apart from hands a place at a brain is held for one model request. In a monolith the turn keeps it while its
tools run, and the others wait. They wait as model requests do: one line per API key, with the same bounds.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack

from agents.brains.fair_queue import FairQueue
from agents.config import BrainSettings


class TurnSlots:
    """The slots of one process."""

    def __init__(self, slots: int, settings: BrainSettings) -> None:
        self._slots = slots
        self._places = FairQueue(
            slots, most_waiting=settings.max_waiting_requests, patience=settings.waiting_timeout_seconds
        )

    @property
    def figures(self) -> dict[str, int]:
        """Slots, those that are held, and turns that wait for one."""
        return {
            "turn_slots": self._slots,
            "turn_slots_held": self._places.taken,
            "turns_waiting": self._places.waiting,
        }

    def slot(self, principal: str) -> AbstractAsyncContextManager[None]:
        """Hold a slot. Raises BrainFailure (overloaded) when the line is full, or none came free in time."""
        return self._places.place(principal)


class TurnSlot:
    """The slot of one turn: taken when it is first needed, kept until the turn gives it back."""

    def __init__(self, slots: TurnSlots | None, principal: str) -> None:
        """Without *slots* a turn needs none."""
        self._slots = slots
        self._principal = principal
        self._held = AsyncExitStack()

    async def take(self) -> None:
        """Return with the slot, at once when the turn has it already. Raises BrainFailure as ``TurnSlots.slot``."""
        if self._slots is not None:
            await self._held.enter_async_context(self._slots.slot(self._principal))
            self._slots = None

    async def give_back(self) -> None:
        """Let another turn have the slot, if there is one to give back; returns without waiting."""
        await self._held.aclose()
