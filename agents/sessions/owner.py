"""What those that do the work of a session may ask of who owns it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from agents.sessions.draft import Draft
from agents.sessions.lifecycle import TurnRules
from agents.sessions.log import Lease
from agents.sessions.ports import HarnessPorts
from agents.sessions.thread_state import ThreadState
from agents.telemetry.tracing.port import SessionTrace

T = TypeVar("T")


class StaleRunner(Exception):
    """The session's state was dropped; ask the harness for a fresh one."""


class ThreadOwner(Protocol):
    """One thread's state and the only way to change it: for the halves of its turn (thinking, acting)."""

    @property
    def state(self) -> ThreadState: ...

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
        """Draft for this thread, commit durably, show. Raises what *change* or the log raises."""
        ...


class SessionOwner(Protocol):
    """One session as the turns of its threads need it."""

    @property
    def lease(self) -> Lease: ...

    @property
    def ports(self) -> HarnessPorts: ...

    @property
    def rules(self) -> TurnRules: ...

    @property
    def trace(self) -> SessionTrace: ...

    @property
    def draining(self) -> bool:
        """Whether the steps under way are to be the last ones here."""
        ...

    async def committed(self) -> bool:
        """See ThreadOwner.committed."""
        ...

    async def apply(self, change: Callable[[Draft], T]) -> T:
        """Draft for the primary thread, commit durably, show. Raises what *change* or the log raises."""
        ...

    def turn_changed(self) -> None:
        """Take note that a thread's turn has started, or has ended."""
        ...

    def state_lost(self, *, crashed: ThreadState | None = None) -> None:
        """Drop the state: a turn could not go on. *crashed*: the thread whose turn died of a fault of ours."""
        ...
