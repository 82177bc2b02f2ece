"""What the halves of a turn (thinking, acting) may ask of the runner that owns the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from agents.sessions.draft import Draft
from agents.sessions.lifecycle import TurnRules
from agents.sessions.ports import HarnessPorts
from agents.sessions.state import SessionState
from agents.telemetry.tracing.port import SessionTrace

T = TypeVar("T")


class SessionOwner(Protocol):
    """One session's state and the only way to change it."""

    @property
    def state(self) -> SessionState: ...

    @property
    def ports(self) -> HarnessPorts: ...

    @property
    def rules(self) -> TurnRules: ...

    @property
    def trace(self) -> SessionTrace: ...

    async def committed(self) -> bool:
        """Return when no commit is under way: until then the state is ahead of the log. False if it was lost."""
        ...

    async def take_slot(self) -> None:
        """Return once the turn may think and act (see ``TurnSlots``). Raises BrainFailure."""
        ...

    async def apply(self, change: Callable[[Draft], T]) -> T:
        """Draft, commit durably, show. Raises what *change* or the log raises."""
        ...
