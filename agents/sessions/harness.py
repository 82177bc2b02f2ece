"""The owner of sessions: leases, runners and the SessionHost port, in plain asyncio.

A harness holds some partitions by lease and is then the only writer of their sessions (law 3). What
it keeps of a session is a cache of the log: a runner can be dropped at any moment and read back.
On Ray one actor delegates to one Harness; in a single process the gateway calls it directly.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from agents.errors import Fenced, InvalidRequest, LogConflict, NotFound, Overloaded, RateLimited, Unavailable
from agents.ids import SessionId
from agents.sessions import transitions
from agents.sessions.bus import Subscription
from agents.sessions.changes import apply_changes
from agents.sessions.draft import Draft
from agents.sessions.events import Event, EventType, SessionRecord
from agents.sessions.host import Frame
from agents.sessions.intake import admit
from agents.sessions.leasing import LeaseKeeper
from agents.sessions.ports import HarnessPorts
from agents.sessions.repeats import RepeatMemory
from agents.sessions.runner import SessionRunner, StaleRunner
from agents.sessions.state import SessionState
from agents.sessions.transitions import TurnRules
from agents.sessions.wire import usage_wire
from agents.shares import Shares

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOAD_ATTEMPTS = 3
_RELEASE_SECONDS = 30.0
_RESUME_AT_ONCE = 16


class Harness:
    """Owns the sessions of some partitions."""

    def __init__(self, ports: HarnessPorts, *, owner: str) -> None:
        self._ports = ports
        self._settings = ports.settings.harness
        self._rules = TurnRules(
            max_tool_rounds=self._settings.max_tool_rounds,
            usage_wire=lambda record, now: usage_wire(record, now, ports.prices),
        )
        self._runners: OrderedDict[str, SessionRunner] = OrderedDict()
        self._running: set[SessionRunner] = set()
        self._places = Shares(self._settings.max_active_sessions, ports.settings.key_share)
        self._loading: dict[str, asyncio.Task[SessionRunner]] = {}
        self._leases = LeaseKeeper(
            ports.leases, ports.clock, owner, ttl=self._settings.lease_ttl_seconds, on_lost=self._partitions_lost
        )
        self._repeats = RepeatMemory(ports.clock, ports.settings.gateway.retry_dedupe_seconds)
        self._background: set[asyncio.Task[Any]] = set()
        self._draining = False

    # -- life ------------------------------------------------------------------------------------

    async def start(self, partitions: Sequence[int]) -> None:
        """Take *partitions* and go on with every session that has work left in them."""
        await self._leases.start(partitions)
        await self._resume(await self._ports.log.unfinished(sorted(self._leases.held)))

    async def stop(self) -> None:
        """Drain: finish the steps under way within the deadline, then give the partitions back."""
        self._draining = True
        turns = list(self._running)
        if turns:
            drains = [asyncio.create_task(runner.drain()) for runner in turns]
            await asyncio.wait(drains, timeout=self._settings.drain_seconds)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*(runner.stop() for runner in turns), *self._background, return_exceptions=True)
        self._runners.clear()
        await self._leases.stop()

    async def _resume(self, session_ids: Iterable[SessionId]) -> None:
        gate = asyncio.Semaphore(_RESUME_AT_ONCE)

        async def one(session_id: SessionId) -> None:
            async with gate:
                (await self._runner(session_id)).resume()

        results = await asyncio.gather(*(one(session_id) for session_id in session_ids), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, NotFound):
                logger.error("a session could not be resumed: %r", result)

    def _partitions_lost(self, partitions: set[int]) -> None:
        for runner in [r for r in self._runners.values() if r.lease.partition in partitions]:
            self._forget(runner)
            self._spawn(runner.stop())

    @property
    def active(self) -> int:
        """Sessions with a turn under way."""
        return len(self._running)

    @property
    def cached(self) -> int:
        return len(self._runners)

    # -- runners ---------------------------------------------------------------------------------

    async def _runner(self, session_id: SessionId) -> SessionRunner:
        runner = self._runners.get(session_id)
        if runner is not None and not runner.poisoned:
            self._runners.move_to_end(session_id)
            return runner
        task = self._loading.get(session_id)
        if task is None:
            task = asyncio.create_task(self._load(session_id))
            self._loading[session_id] = task
            task.add_done_callback(lambda _: self._loading.pop(session_id, None))
        return await asyncio.shield(task)

    async def _load(self, session_id: SessionId) -> SessionRunner:
        snapshot = await self._ports.log.load(session_id)
        runner = self._make_runner(SessionState.restore(snapshot))
        self._keep(runner)
        runner.resume()
        return runner

    def _make_runner(self, state: SessionState) -> SessionRunner:
        if self._draining:
            raise Unavailable("the server is shutting down", retry_after=1.0)
        lease = self._leases.lease(state.record.partition)
        return SessionRunner(state, lease, self._ports, self._rules, on_turn=self._turn_changed)

    def _keep(self, runner: SessionRunner) -> None:
        self._runners[runner.state.record.id] = runner
        self._runners.move_to_end(runner.state.record.id)
        excess = len(self._runners) - self._settings.max_cached_sessions
        if excess > 0:
            idle = [r for r in self._runners.values() if not r.running and r is not runner]
            for old in idle[:excess]:
                self._forget(old)

    def _forget(self, runner: SessionRunner) -> None:
        if self._runners.get(runner.state.record.id) is runner:
            del self._runners[runner.state.record.id]

    def _turn_changed(self, runner: SessionRunner) -> None:
        """Called when a runner's turn starts and when it ends."""
        principal = runner.state.record.principal
        if runner.running:
            if runner not in self._running:
                self._running.add(runner)
                self._places.take(principal)
            return
        if runner in self._running:
            self._running.discard(runner)
            self._places.give_back(principal)
        if runner.poisoned and not self._draining and self._runners.get(runner.state.record.id) is runner:
            self._forget(runner)
            self._spawn(self._reload(SessionId(runner.state.record.id)))

    async def _reload(self, session_id: SessionId) -> None:
        """Go on with a session whose owner's state was dropped in mid-turn."""
        delay = 0.1
        while not self._draining:
            await self._ports.clock.sleep(delay)
            try:
                await self._runner(session_id)
                return
            except (NotFound, Fenced):
                return
            except Unavailable as error:
                logger.warning("session %s waits for the store: %s", session_id, error)
                delay = min(delay * 2, 5.0)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _apply(self, session_id: SessionId, change: Callable[[Draft], T]) -> T:
        for _ in range(_LOAD_ATTEMPTS):
            runner = await self._runner(session_id)
            try:
                return await runner.apply(change)
            except (StaleRunner, LogConflict):
                self._forget(runner)
        raise Unavailable(f"session {session_id} is being taken over", retry_after=1.0)

    def _check_room(self, session_id: str) -> None:
        """Refuse at once, without reading the session, what could not start a turn anyway."""
        if self._draining:
            raise Unavailable("the server is shutting down", retry_after=1.0)
        runner = self._runners.get(session_id)
        if self.active >= self._settings.max_active_sessions and not (runner is not None and runner.running):
            raise Overloaded(f"{self.active} sessions are running, which is the limit", retry_after=1.0)

    def _admit(self, draft: Draft, events: Sequence[dict[str, Any]]) -> list[Event]:
        # What concerns a running session always may come: an interrupt is what makes room.
        starts = any(event["type"] != EventType.USER_INTERRUPT for event in events)
        if starts and not draft.state.busy:
            self._check_share(draft.state.record.principal)
        return admit(draft, self._rules, events, max_queued=self._settings.max_queued_events)

    def _check_share(self, principal: str) -> None:
        refusal = self._places.refusal(principal)
        if refusal == "full":
            raise Overloaded(f"{self.active} sessions are running, which is the limit", retry_after=1.0)
        if refusal is not None:
            held = self._places.held(principal)
            words = f"{held} sessions of this API key are running, more than its share; the rest is kept for others"
            raise RateLimited(words, retry_after=1.0)

    # -- SessionHost -----------------------------------------------------------------------------

    async def create(self, record: SessionRecord, initial_events: Sequence[dict[str, Any]]) -> SessionRecord:
        """See SessionHost.create."""
        self._check_room(record.id)
        runner = self._make_runner(SessionState(record))

        def change(draft: Draft) -> None:
            if initial_events:
                self._admit(draft, initial_events)

        stored = await runner.create(change)
        self._keep(runner)
        return stored

    async def send(
        self, session_id: SessionId, events: Sequence[dict[str, Any]], *, repeat_key: str | None = None
    ) -> list[dict[str, Any]]:
        """See SessionHost.send."""
        self._check_room(session_id)

        async def accept() -> list[dict[str, Any]]:
            echoes = await self._apply(session_id, lambda draft: self._admit(draft, events))
            return [echo.wire() for echo in echoes]

        return await self._repeats.once(f"{session_id}/{repeat_key}" if repeat_key else None, accept)

    async def update(self, session_id: SessionId, changes: dict[str, Any]) -> SessionRecord:
        """See SessionHost.update."""
        return await self._apply(session_id, lambda draft: apply_changes(draft, changes))

    async def archive(self, session_id: SessionId) -> SessionRecord:
        """See SessionHost.archive."""

        def change(draft: Draft) -> SessionRecord:
            if draft.state.record.archived_at is None:
                _check_not_busy(draft.state, "archived")
                transitions.terminate(draft)
                draft.state.set(archived_at=draft.now)
            return draft.state.record

        record = await self._apply(session_id, change)
        self._spawn(self._release(session_id, destroy=False))
        return record

    async def delete(self, session_id: SessionId) -> None:
        """See SessionHost.delete."""
        for _ in range(_LOAD_ATTEMPTS):
            runner = await self._runner(session_id)
            try:
                await runner.delete(lambda state: _check_not_busy(state, "deleted"))
                break
            except StaleRunner:
                self._forget(runner)
        else:
            raise Unavailable(f"session {session_id} is being taken over", retry_after=1.0)
        self._forget(runner)
        self._spawn(self._release(session_id, destroy=True))

    async def _release(self, session_id: SessionId, *, destroy: bool) -> None:
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._ports.hands.release(session_id, destroy=destroy)
        except TimeoutError:
            logger.error("the sandbox of %s was not released within %g s", session_id, _RELEASE_SECONDS)

    @asynccontextmanager
    async def watch(
        self, session_id: SessionId, *, previews: frozenset[str]
    ) -> AsyncGenerator[AsyncIterator[Sequence[Frame]]]:
        """See SessionHost.watch."""
        frames = self._ports.settings.gateway.stream_queue_frames
        subscription = Subscription(previews, max_frames=frames)
        self._ports.bus.attach(session_id, subscription)
        try:
            yield aiter(subscription)
        finally:
            self._ports.bus.detach(session_id, subscription)


def _check_not_busy(state: SessionState, verb: str) -> None:
    if state.busy:
        raise InvalidRequest(f"session {state.record.id} is {state.status.value}: only an idle session can be {verb}")
