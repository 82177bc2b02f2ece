"""One session in its owner's hands: the agent loop.

Every change goes through :meth:`SessionRunner.apply`: under the session's lock a draft is made,
committed, and only then shown (law 1). The loop itself keeps nothing that the log does not know; it
asks the state what is next and does it. A failed commit poisons the runner: its state is dropped and
read again from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson

from agents.brains.port import BrainFailure
from agents.errors import HecatonError, LogConflict
from agents.ids import SessionId, new_event_id
from agents.sessions import resuming, transitions
from agents.sessions.acting import Actor
from agents.sessions.draft import Draft
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus
from agents.sessions.host import Frame
from agents.sessions.lifecycle import TurnRules
from agents.sessions.log import Commit, Lease
from agents.sessions.model_requests import pause
from agents.sessions.observing import Observers
from agents.sessions.ports import HarnessPorts
from agents.sessions.serving import recall
from agents.sessions.state import SessionState
from agents.sessions.thinking import Thinker
from agents.sessions.turn_slots import TurnSlot

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SLOT_PAUSE_SECONDS = 1.0


class StaleRunner(Exception):
    """The runner's state was dropped; ask the harness for a fresh one."""


def frame_of(event: Event) -> Frame:
    """Encode an event once for every stream."""
    return Frame(
        event.type.value,
        orjson.dumps(event.wire()),
        seq=event.seq,
        event_id=event.id,
        ends=event.type is EventType.SESSION_DELETED,
    )


class SessionRunner:
    """Owns one session: its state, its lock and its turn."""

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
        self.crashed = False
        """Whether the turn died of a fault of ours."""
        self._draining = False
        self._taken_up = False
        self._crashes = 0
        self._on_turn = on_turn
        self._on_lost = on_lost
        self._lock = asyncio.Lock()
        self._turn: asyncio.Task[None] | None = None
        self._activity: asyncio.Task[None] | None = None
        self._slot = TurnSlot(None, "")
        self._thinker = Thinker(self)
        self._actor = Actor(self)
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

    # -- the turn --------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._turn is not None and not self._turn.done()

    def resume(self, log: Sequence[Event], *, crashes: int = 0, untold_since: datetime | None = None) -> None:
        """Go on after a restart, exactly where the *log* ends; *crashes* as for ``resuming.attempts``.

        *untold_since* as for ``SessionTrace.restore``.
        """
        if self.state.busy or self.state.calls or untold_since is not None:
            self._observers.restored(self.state.record, log, untold_since=untold_since)
        self._taken_up = self.state.busy
        self._crashes = crashes
        self._keep_going()

    def _keep_going(self) -> None:
        """See that a busy session has its turn under way, and that an interrupt stops what it does."""
        if self.state.busy and not (self.running or self._draining):
            self._turn = asyncio.create_task(self._run(), name=f"turn {self.state.record.id}")
            self._on_turn(self)
        self._actor.wake.set()
        if self.state.interrupted and self._activity is not None:
            self._activity.cancel()

    @property
    def quiet(self) -> bool:
        """Whether no turn runs and no commit is under way."""
        return not (self.running or self._lock.locked())

    async def settled(self) -> None:
        """Return when the turn and the commit that are under way now have ended."""
        if self._turn is not None:
            await asyncio.wait({self._turn})
        async with self._lock:
            pass

    def drain(self) -> None:
        """Let the step under way be the last one here; what the client sends is still taken in."""
        self._draining = True

    def abandon(self) -> None:
        """Leave the turn where it is, without a trace: the log says where the next owner goes on."""
        self.poisoned = True
        if self._turn is not None:
            self._turn.cancel()

    async def take_slot(self) -> None:
        """See SessionOwner.take_slot."""
        await self._slot.take()

    async def _run(self) -> None:
        slot = self._slot = TurnSlot(self.ports.slots, self.state.record.principal)
        try:
            if self._taken_up:
                self._taken_up = False
                await self._take_up()
            while await self.committed() and self.state.busy and not self._draining:
                await self._step()
        except StaleRunner:
            pass  # somebody else's commit failed and dropped the state; on_turn sees it
        except HecatonError as error:
            logger.warning("turn of %s lost its state (%s): %s", self.state.record.id, type(error).__name__, error)
            self.poisoned = True
        except Exception:
            # Actor-supervisor border: the turn died of a fault; the log decides how it goes on.
            logger.exception("turn of %s failed; its state is dropped", self.state.record.id)
            self.poisoned = self.crashed = True
        finally:
            await slot.give_back()
            self._turn = None
            self._on_turn(self)

    async def _take_up(self) -> None:
        """Wait before a turn that has got nowhere so far, or end it: see ``resuming``."""
        attempt = resuming.attempts(self.state.record, self.lease, self._crashes)
        if attempt > self.ports.settings.harness.max_resumes:
            words = f"The turn was taken up {attempt - 1} times without getting any further."
            await self.apply(lambda draft: transitions.give_up_turn(draft, self.rules, words))
        elif (seconds := resuming.pause_before(attempt - self._crashes)) > 0:
            await self._do(self.ports.clock.sleep(seconds))
        if self.state.open_request is not None:
            # It is made once more: what it cost the first time, and the time since then, count before it does.
            await self.apply(lambda draft: pause(draft, self.rules))

    async def _step(self) -> None:
        """Do what the state asks for next."""
        state = self.state
        if state.interrupted:
            spent, request = self._thinker.spent(), state.open_request
            await self.apply(lambda draft: transitions.apply_interrupt(draft, self.rules, spent))
            await self._thinker.meter_unfinished(request, spent)
        elif state.status is SessionStatus.RESCHEDULING:
            await self._do(self._thinker.back_off())
        elif state.open_request is not None:
            await self._do(self._thinker.think(state.open_request))
        elif state.runnable_calls():
            await self._do(self._use_tools())
        else:
            await self.apply(lambda draft: transitions.follow_up(draft, self.rules))

    async def _use_tools(self) -> None:
        try:
            # A turn that goes on with its tools (after a permission, or at another owner) has no slot yet.
            await self.take_slot()
        except BrainFailure as failure:
            logger.warning("the tools of %s wait: %s", self.state.record.id, failure.message)
            await self.ports.clock.sleep(_SLOT_PAUSE_SECONDS)
        else:
            await self._actor.use_tools()

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do *work*; an interrupt cancels it, and only it."""
        self._activity = asyncio.create_task(work)
        try:
            await self._activity
        except asyncio.CancelledError:
            if not self.state.interrupted or _being_cancelled():
                raise
        finally:
            self._activity = None


def _heard(work: asyncio.Future[Any]) -> None:
    """Take note of a failure whose caller was cancelled: ``on_lost`` has told those whom it concerns."""
    if not work.cancelled():
        work.exception()


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
