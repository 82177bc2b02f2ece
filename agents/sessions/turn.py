"""The turn of one thread: it asks the thread's state what is next and does it, until the thread rests.

It keeps nothing that the log does not know. Turns of a session's threads run side by side; what they change goes
through the session's lock, one commit after the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainFailure
from agents.errors import HecatonError
from agents.sessions import resuming, transitions
from agents.sessions.acting import Actor
from agents.sessions.draft import Draft
from agents.sessions.events import SessionStatus
from agents.sessions.grading import Grader
from agents.sessions.model_requests import pause
from agents.sessions.owner import SessionOwner, StaleRunner
from agents.sessions.thinking import Thinker
from agents.sessions.thread_state import ThreadState
from agents.sessions.turn_slots import TurnSlot

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SLOT_PAUSE_SECONDS = 1.0


class ThreadTurn:
    """Runs the turns of one thread (its ThreadOwner)."""

    def __init__(self, session: SessionOwner, state: ThreadState) -> None:
        self.state = state
        self.ports = session.ports
        self.rules = session.rules
        self.trace = session.trace
        self._session = session
        self._taken_up = False
        self._crashes = 0
        self._task: asyncio.Task[None] | None = None
        self._activity: asyncio.Task[None] | None = None
        """What an interrupt would cancel."""
        self._slot = TurnSlot(None, "")
        self._thinker = Thinker(self)
        self._grader = Grader(self)
        self._actor = Actor(self)

    async def apply(self, change: Callable[[Draft], T]) -> T:
        """See ThreadOwner.apply."""
        return await self._session.apply(lambda draft: change(draft.of(self.state)))

    async def committed(self) -> bool:
        """See ThreadOwner.committed."""
        return await self._session.committed()

    async def take_slot(self) -> None:
        """See ThreadOwner.take_slot."""
        await self._slot.take()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The turn that is under way."""
        return None if self._task is None or self._task.done() else self._task

    @property
    def over(self) -> bool:
        """Whether nothing is under way, and nothing ever will be again: the thread is final."""
        return self.state.status is SessionStatus.TERMINATED and self.task is None

    def resume(self, crashes: int) -> None:
        """The state was read from the log: a turn that is under way there is taken up; *crashes* as ``attempts``."""
        self._taken_up = self.state.busy
        self._crashes = crashes

    def keep_going(self) -> None:
        """See that a busy thread has its turn under way, and that an interrupt stops what it does."""
        if self.state.busy and self.task is None and not self._session.draining:
            name = f"turn {self.state.record.id} {self.state.id}"
            self._task = asyncio.create_task(self._run(), name=name)
            self._session.turn_changed()
        self._actor.wake.set()
        if self._activity is not None and self.state.interrupted:
            self._activity.cancel()
            # Once: every commit of the session comes here, and a second cancellation would cut off the clean-up.
            self._activity = None

    async def _run(self) -> None:
        slot = self._slot = TurnSlot(self.ports.slots, self.state.record.principal)
        session_id = self.state.record.id
        try:
            if self._taken_up:
                self._taken_up = False
                await self._take_up()
            while await self.committed() and self.state.busy and not self._session.draining:
                await self._step()
        except StaleRunner:
            pass  # somebody else's commit failed and dropped the state; turn_changed tells who has to know
        except HecatonError as error:
            logger.warning("turn of %s lost its state (%s): %s", session_id, type(error).__name__, error)
            self._session.state_lost()
        except Exception:
            # Actor-supervisor border: the turn died of a fault; the log decides how it goes on.
            logger.exception("turn of %s failed; its state is dropped", session_id)
            self._session.state_lost(crashed=self.state)
        finally:
            await slot.give_back()
            self._task = None
            self._session.turn_changed()

    async def _take_up(self) -> None:
        """Wait before a turn that has got nowhere so far, or end it: see ``resuming``."""
        attempt = resuming.attempts(self.state, self._session.lease, self._crashes)
        if attempt > self.ports.settings.harness.max_resumes:
            words = f"The turn was taken up {attempt - 1} times without getting any further."
            await self.apply(lambda draft: transitions.give_up_turn(draft, self.rules, words))
        elif (seconds := resuming.pause_before(attempt - self._crashes)) > 0:
            await self._do(self.ports.clock.sleep(seconds))
        if self.state.open_request is not None or self.state.grading is not None:
            # It is made once more: what it cost the first time, and the time since then, count before it does.
            await self.apply(lambda draft: pause(draft, self.rules))

    async def _step(self) -> None:
        """Do what the state asks for next."""
        state = self.state
        if state.interrupted:
            await self._interrupt()
        elif state.status is SessionStatus.RESCHEDULING:
            await self._do(self._thinker.back_off())
        elif state.open_request is not None:
            await self._do(self._thinker.think(state.open_request))
        elif state.grading is not None and state.session.outcome is not None:
            await self._do(self._grader.grade(state.grading, state.session.outcome))
        elif state.runnable_calls():
            await self._do(self._use_tools())
        else:
            await self.apply(lambda draft: transitions.follow_up(draft, self.rules))

    async def _interrupt(self) -> None:
        request, grading = self.state.open_request, self.state.grading
        spent = self._thinker.spent() if grading is None else self._grader.spent()

        def interrupt(draft: Draft) -> None:
            self._thinker.count_judging(draft)
            transitions.apply_interrupt(draft, self.rules, spent)

        await self.apply(interrupt)
        if grading is None:
            await self._thinker.meter_unfinished(request, spent)
        elif spent.usage != TokenUsage():
            await self._grader.meter_unfinished()

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
        activity = self._activity = asyncio.create_task(work)
        try:
            await activity
        except asyncio.CancelledError:
            if not self.state.interrupted or _being_cancelled():
                raise
        finally:
            self._activity = None


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
