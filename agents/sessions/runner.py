"""One session in its owner's hands: its state, and the only way to change it.

Every change goes through :meth:`SessionRunner.apply`: under the session's lock a draft is made,
committed, and only then shown (law 1). The turns of the session's threads run side by side and keep nothing
that the log does not know. A failed commit poisons the runner: its state is dropped and
read again from the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson

from agents.errors import LogConflict
from agents.ids import SessionId, new_event_id
from agents.sessions.draft import Draft
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus
from agents.sessions.host import Frame
from agents.sessions.lifecycle import TurnRules
from agents.sessions.log import Commit, Lease
from agents.sessions.observing import Observers
from agents.sessions.owner import StaleRunner
from agents.sessions.ports import HarnessPorts
from agents.sessions.serving import recall
from agents.sessions.state import SessionState
from agents.sessions.thread_state import ThreadState
from agents.sessions.transitions import wake
from agents.sessions.turn import ThreadTurn

T = TypeVar("T")


def frame_of(event: Event) -> Frame:
    """Encode an event once for every stream."""
    return Frame(
        event.type.value,
        orjson.dumps(event.wire()),
        seq=event.seq,
        event_id=event.id,
        ends=event.type is EventType.SESSION_DELETED,
        thread=event.thread,
        crossposted=event.crossposted,
    )


class SessionRunner:
    """Owns one session: its state, its lock and the turns of its threads (their SessionOwner)."""

    def __init__(
        self,
        state: SessionState,
        lease: Lease,
        ports: HarnessPorts,
        rules: TurnRules,
        *,
        on_turn: Callable[[SessionRunner], None] = lambda _: None,
        on_lost: Callable[[SessionRunner, BaseException], None] = lambda _, __: None,
    ) -> None:
        """*on_turn* hears when a turn starts and ends, *on_lost* that a failed commit made the state worthless."""
        self.state = state
        self.lease = lease
        self.ports = ports
        self.rules = rules
        self.trace = ports.tracing.session(state.record.id)
        self.poisoned = False
        self.crashed: list[str] = []
        """Threads whose turns died of a fault of ours."""
        self.draining = False
        """Whether the steps under way are to be the last ones here."""
        self._on_turn = on_turn
        self._on_lost = on_lost
        self._lock = asyncio.Lock()
        self._turns: dict[str, ThreadTurn] = {}
        self._add_turns()
        self._observers = Observers(ports, state, self.trace)

    # -- changes ---------------------------------------------------------------------------------

    async def apply(self, change: Callable[[Draft], T]) -> T:
        """Draft, commit, show. Raises what *change* raises (nothing is then written) or what the log raises."""
        # A cancelled caller must not leave a commit half observed: the work itself always finishes.
        work = asyncio.ensure_future(self._apply(change))
        work.add_done_callback(_heard)
        return await asyncio.shield(work)

    async def _apply(self, change: Callable[[Draft], T]) -> T:
        async with self._lock:
            if self.poisoned:
                raise StaleRunner
            draft = Draft(self.state, self.ports.clock.now())
            try:
                result = change(draft)
                wake(draft, self.rules)
                if not draft.empty:
                    await self._write(draft, self.ports.log.append)
            except BaseException as error:
                # The state may have moved ahead of the log: drop it unless nothing was drafted.
                if not draft.empty:
                    self._lose(error)
                raise
            self._observers.committed(draft)
            self.show(draft.shown)
            if draft.called_off:
                self.ports.hands.cancel(self.state.record.id, draft.called_off)
            if draft.recalled:
                recall(self.ports, self.state, draft.recalled)
            self._keep_going()
            return result

    async def _write(self, draft: Draft, write: Callable[[Commit], Awaitable[None]]) -> None:
        """Have the log *write* the draft, and count it."""
        clock, metrics, events = self.ports.clock, self.ports.metrics, len(draft.events)
        began = clock.monotonic()
        metrics.append_began(events)
        try:
            await write(draft.commit(self.lease))
        finally:
            metrics.append_ended(events, clock.monotonic() - began)

    async def committed(self) -> bool:
        """Return when no commit is under way: until then the state is ahead of the log. False if it was lost."""
        async with self._lock:
            return not self.poisoned

    async def create(self, change: Callable[[Draft], None]) -> SessionRecord:
        """Store the session for the first time, with what *change* drafts; returns the stored row."""
        async with self._lock:
            draft = Draft(self.state, self.ports.clock.now())
            change(draft)
            try:
                await self._write(draft, self.ports.log.create)
            except LogConflict:
                raise  # an earlier try has stored the session
            except BaseException as error:
                self._lose(error)
                raise
            self._observers.committed(draft)
            self.show(draft.shown)
            stored = self.state.record
            self._keep_going()
            return stored

    async def delete(self, check: Callable[[SessionState], None]) -> None:
        """Remove the session from the store and end its streams. Raises what *check* raises."""
        async with self._lock:
            if self.poisoned:
                raise StaleRunner
            check(self.state)
            try:
                await self.ports.log.delete(self.lease, SessionId(self.state.record.id))
            except BaseException as error:
                self._lose(error)
                raise
            self.poisoned = True
            self.show([Event(new_event_id(), EventType.SESSION_DELETED, {}, self.ports.clock.now())])

    def _lose(self, error: BaseException) -> None:
        self.poisoned = True
        self._on_lost(self, error)

    def show(self, events: Sequence[Event]) -> None:
        """Publish committed events, in order."""
        session_id = self.state.record.id
        if events and self.ports.bus.watched(session_id):
            self.ports.bus.publish(session_id, [frame_of(event) for event in events])

    # -- turns -----------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the turn of a thread is under way."""
        return any(turn.task is not None for turn in self._turns.values())

    def resume(
        self, log: Sequence[Event], *, crashes: Mapping[str, int] | None = None, untold_since: datetime | None = None
    ) -> None:
        """Go on after a restart, exactly where the *log* ends; *crashes* by thread, as for ``resuming.attempts``.

        *untold_since* as for ``SessionTrace.restore``.
        """
        if self.state.busy or any(self.state.open_calls()) or untold_since is not None:
            self._observers.restored(self.state.record, log, untold_since=untold_since)
        for thread_id, turn in self._turns.items():
            turn.resume((crashes or {}).get(thread_id, 0))
        self._keep_going()

    def _keep_going(self) -> None:
        """See that every busy thread has its turn under way, and that an interrupt stops what it does."""
        self._add_turns()
        for turn in tuple(self._turns.values()):
            turn.keep_going()
            if turn.over:
                del self._turns[turn.state.id]

    def _add_turns(self) -> None:
        for thread in self.state.threads.values():
            if thread.status is not SessionStatus.TERMINATED and thread.id not in self._turns:
                self._turns[thread.id] = ThreadTurn(self, thread)

    def turn_changed(self) -> None:
        """See SessionOwner.turn_changed."""
        self._on_turn(self)

    def state_lost(self, *, crashed: ThreadState | None = None) -> None:
        """See SessionOwner.state_lost: no turn goes on with it."""
        self.poisoned = True
        if crashed is not None:
            self.crashed.append(crashed.id)
        own = asyncio.current_task()
        for task in self._tasks():
            if task is not own:
                task.cancel()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [turn.task for turn in self._turns.values() if turn.task is not None]

    @property
    def quiet(self) -> bool:
        """Whether no turn runs and no commit is under way."""
        return not (self.running or self._lock.locked())

    async def settled(self) -> None:
        """Return when the turns and the commit that are under way now have ended."""
        if tasks := self._tasks():
            await asyncio.wait(tasks)
        async with self._lock:
            pass

    def drain(self) -> None:
        """Let the steps under way be the last ones here; what the client sends is still taken in."""
        self.draining = True

    def abandon(self) -> None:
        """Leave the turns where they are, without a trace: the log says where the next owner goes on."""
        self.poisoned = True
        for task in self._tasks():
            task.cancel()


def _heard(work: asyncio.Future[Any]) -> None:
    """Take note of a failure whose caller was cancelled: ``on_lost`` has told those whom it concerns."""
    if not work.cancelled():
        work.exception()
