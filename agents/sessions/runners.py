"""The sessions that one harness holds in memory: loaded when asked for, dropped at any moment.

Invariant: of each session there is at most one runner that is neither poisoned nor forgotten, made under
the lease that is held now. A runner whose state was lost (a commit failed, a turn died of a fault) is
replaced by one read from the log, as often as it takes: its session may be in the middle of a turn, and
the commit may have gone through after all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any

from agents.errors import Fenced, HecatonError, LogConflict, NotFound
from agents.ids import SessionId
from agents.sessions.draft import Draft
from agents.sessions.events import Event, SessionRecord
from agents.sessions.lifecycle import TurnRules
from agents.sessions.log import Lease
from agents.sessions.observing import untold_since
from agents.sessions.partition import partition_of
from agents.sessions.ports import HarnessPorts
from agents.sessions.resuming import place_of
from agents.sessions.room import Room
from agents.sessions.runner import SessionRunner
from agents.sessions.state import SessionState

logger = logging.getLogger(__name__)

_LOADING_AT_ONCE = 16
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 5.0
_LONGEST_FAULT_DELAY_SECONDS = 60.0


class Runners:
    """Runners by session, and what is known of them by partition (the keeper's PartitionWork)."""

    def __init__(
        self,
        ports: HarnessPorts,
        rules: TurnRules,
        *,
        lease_of: Callable[[int], Lease],
        on_fenced: Callable[[Lease], None],
        on_gone: Callable[[int], None],
    ) -> None:
        """*lease_of* raises Fenced for a partition that is not held. *on_fenced* hears of a lease that the store has
        refused, *on_gone* of a partition in which a session has vanished: its deletion went through after all."""
        self._ports = ports
        self._rules = rules
        self._settings = ports.settings.harness
        self._lease_of = lease_of
        self._on_fenced = on_fenced
        self._on_gone = on_gone
        self.room = Room(ports.settings)
        self._runners: OrderedDict[str, SessionRunner] = OrderedDict()
        self._loading: dict[str, asyncio.Task[SessionRunner]] = {}
        self._running: set[SessionRunner] = set()
        self._draining: set[int] = set()
        self._faults: Counter[str] = Counter()
        """Turns in a row that died of a fault of ours, by session: it is tried again, but not in a tight loop."""
        self._crashes: dict[str, dict[str, tuple[int | None, int]]] = {}
        """Of these, those of a thread at one place of its log: its position (None until it is read again), how many."""
        self._returning: dict[str, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(_LOADING_AT_ONCE)

    def __len__(self) -> int:
        return len(self._runners)

    @property
    def active(self) -> int:
        """Sessions with a turn under way."""
        return len(self._running)

    @property
    def running(self) -> list[tuple[str, datetime]]:
        """The sessions with a turn under way, with the time of their last commit."""
        return [(runner.state.record.id, runner.state.record.updated_at) for runner in self._running]

    def _partition(self, session_id: str) -> int:
        return partition_of(session_id, self._settings.partitions)

    def _holds(self, lease: Lease) -> bool:
        try:
            return self._lease_of(lease.partition) == lease
        except Fenced:
            return False

    # -- by session ------------------------------------------------------------------------------

    def known(self, session_id: str) -> SessionRunner | None:
        """Return the session's runner if it is in memory and good."""
        runner = self._runners.get(session_id)
        return None if runner is None or runner.poisoned else runner

    async def get(self, session_id: SessionId) -> SessionRunner:
        """Return the session's runner, read from the log when need be. Raises Fenced, NotFound, Unavailable."""
        runner = self.known(session_id)
        if runner is not None:
            self._runners.move_to_end(session_id)
            return runner
        return await self._once(session_id, lambda: self._load(session_id))

    async def create(self, record: SessionRecord, change: Callable[[Draft], None]) -> SessionRecord | None:
        """Store a new session and return its row; None when an earlier try has stored it.

        Raises what *change* raises, Fenced, Unavailable.
        """
        session_id, stored = SessionId(record.id), list[SessionRecord]()

        async def make() -> SessionRunner:
            lease = self._lease_of(record.partition)
            runner = self._make(SessionState(record), lease)
            try:
                stored.append(await runner.create(change))
            except LogConflict:
                return await self._load(session_id)
            if self._holds(lease):
                self._keep(runner)
            else:
                runner.abandon()  # whoever owns the partition now reads the session from the log
            return runner

        if self.known(session_id) is None:
            await self._once(session_id, make)
        return stored[0] if stored else None

    async def _once(self, session_id: str, work: Callable[[], Coroutine[Any, Any, SessionRunner]]) -> SessionRunner:
        """Do *work*, or join whoever does the same for the session already."""
        task = self._loading.get(session_id)
        if task is None:
            task = asyncio.create_task(work())
            self._loading[session_id] = task
            task.add_done_callback(lambda _: self._loading.pop(session_id, None))
        return await asyncio.shield(task)

    async def _load(self, session_id: SessionId) -> SessionRunner:
        partition = self._partition(session_id)
        while True:
            lease = self._lease_of(partition)
            snapshot = await self._ports.log.load(session_id)
            # Read under an earlier lease, it may lack what another owner wrote in between.
            if self._holds(lease):
                break
        runner = self._make(SessionState.restore(snapshot), lease)
        self._keep(runner)
        crashes = self._crashes_at(runner.state, snapshot.events)
        runner.resume(snapshot.events, crashes=crashes, untold_since=self._untold_since(snapshot.record, lease))
        return runner

    def _untold_since(self, record: SessionRecord, lease: Lease) -> datetime | None:
        """Say since when the session's trace may lack what its log has; None: it lacks nothing."""
        if record.id in self._faults:
            return record.updated_at  # its last commit may be one that was taken for failed
        since = None if record.epoch == lease.epoch else untold_since(self._ports, lease)
        return None if since is None or record.updated_at < since else since

    def _crashes_at(self, state: SessionState, log: Sequence[Event]) -> dict[str, int]:
        """Count each thread's crashes at the place that was just read: all of those before, or only the last."""
        known = self._crashes.get(state.record.id, {})
        for thread_id, (before, crashes) in known.items():
            position = place_of(log, state.threads[thread_id].event_thread)
            known[thread_id] = position, crashes if before in (None, position) else 1
        return {thread_id: crashes for thread_id, (_, crashes) in known.items()}

    def _make(self, state: SessionState, lease: Lease) -> SessionRunner:
        runner = SessionRunner(
            state, lease, self._ports, self._rules, on_turn=self._turn_changed, on_lost=self._state_lost
        )
        if lease.partition in self._draining:
            runner.drain()
        return runner

    def _keep(self, runner: SessionRunner) -> None:
        self._runners[runner.state.record.id] = runner
        self._runners.move_to_end(runner.state.record.id)
        excess = len(self._runners) - self._settings.max_cached_sessions
        if excess > 0:
            idle = [r for r in self._runners.values() if r.quiet and r is not runner]
            for old in idle[:excess]:
                self.forget(old)

    def forget(self, runner: SessionRunner) -> None:
        """Read the session from the log the next time it is asked for."""
        if self._runners.get(runner.state.record.id) is runner:
            del self._runners[runner.state.record.id]

    def _turn_changed(self, runner: SessionRunner) -> None:
        session_id, principal = runner.state.record.id, runner.state.record.principal
        if runner.running:
            if runner not in self._running:
                self._running.add(runner)
                self.room.enter(principal)
            return
        if runner in self._running:
            self._running.discard(runner)
            self.room.leave(principal)
        if not runner.poisoned:
            self._faults.pop(session_id, None)
            self._crashes.pop(session_id, None)
        elif self._runners.get(session_id) is runner:
            self._replace(runner)

    def _state_lost(self, runner: SessionRunner, error: BaseException) -> None:
        if isinstance(error, Fenced):
            self._on_fenced(runner.lease)
        elif not isinstance(error, asyncio.CancelledError):  # the whole process ends
            self._replace(runner)

    # -- coming back -----------------------------------------------------------------------------

    def _replace(self, runner: SessionRunner) -> None:
        session_id = SessionId(runner.state.record.id)
        self._faults[session_id] += 1
        for thread_id in runner.crashed:
            known = self._crashes.setdefault(session_id, {})
            position, crashes = known.get(thread_id, (None, 0))
            known[thread_id] = position, crashes + 1
        self.forget(runner)
        if (earlier := self._returning.pop(session_id, None)) is not None:
            earlier.cancel()  # it may have ended its work just now, with the runner that is lost
        self._start_return(session_id, missed=True)

    def bring_back(self, session_ids: Iterable[SessionId]) -> None:
        """Go on with these sessions, however often the store does not answer, while their partitions are held."""
        for session_id in session_ids:
            if session_id not in self._returning:
                self._start_return(session_id, missed=False)

    def _start_return(self, session_id: SessionId, *, missed: bool) -> None:
        task = asyncio.create_task(self._return(session_id, missed=missed), name=f"return of {session_id}")
        self._returning[session_id] = task
        task.add_done_callback(lambda task: self._returned(session_id, task))

    async def _return(self, session_id: SessionId, *, missed: bool) -> None:
        delay = _FIRST_DELAY_SECONDS
        if faults := self._faults[session_id]:
            await self._ports.clock.sleep(min(delay * 2 ** (faults - 1), _LONGEST_FAULT_DELAY_SECONDS))
        while True:
            try:
                async with self._gate:
                    await self.get(session_id)
                break
            except NotFound:
                self._on_gone(self._partition(session_id))
                break
            except Fenced:
                break
            except HecatonError as error:
                logger.warning("session %s waits for the store: %s", session_id, error.message)
            await self._ports.clock.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
        if missed:
            # A commit that failed here may have gone through: only a new look at the log shows what streams missed.
            self._ports.bus.sever(session_id)

    def _returned(self, session_id: SessionId, task: asyncio.Task[None]) -> None:
        if self._returning.get(session_id) is task:
            del self._returning[session_id]
        if not task.cancelled() and (fault := task.exception()) is not None:
            logger.error("session %s cannot be brought back", session_id, exc_info=fault)

    # -- by partition ----------------------------------------------------------------------------

    def _of(self, partition: int) -> list[SessionRunner]:
        return [runner for runner in self._runners.values() if runner.lease.partition == partition]

    def _loading_in(self, partition: int) -> list[asyncio.Task[SessionRunner]]:
        return [task for session_id, task in self._loading.items() if self._partition(session_id) == partition]

    def turns(self, partition: int) -> int:
        """See PartitionWork.turns."""
        return sum(runner.lease.partition == partition for runner in self._running)

    def quiet(self, partition: int) -> bool:
        """See PartitionWork.quiet."""
        return all(runner.quiet for runner in self._of(partition)) and not self._loading_in(partition)

    async def settled(self, partition: int) -> None:
        """See PartitionWork.settled."""
        if loading := self._loading_in(partition):
            await asyncio.wait(loading)
        for runner in self._of(partition):
            await runner.settled()

    def drain(self, partition: int) -> None:
        """See PartitionWork.drain."""
        self._draining.add(partition)
        for runner in self._of(partition):
            runner.drain()

    def drop(self, partitions: Collection[int]) -> None:
        """See PartitionWork.drop."""
        self._draining.difference_update(partitions)
        for runner in [runner for runner in self._runners.values() if runner.lease.partition in partitions]:
            self.forget(runner)
            runner.abandon()
        for session_id in [each for each in self._faults if self._partition(each) in partitions]:
            del self._faults[session_id]
            self._crashes.pop(session_id, None)
        for session_id in [each for each in self._returning if self._partition(each) in partitions]:
            self._returning.pop(session_id).cancel()
        for session_id in self._ports.bus.sessions():
            if self._partition(session_id) in partitions:
                self._ports.bus.sever(session_id)
