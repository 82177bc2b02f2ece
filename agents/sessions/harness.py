"""The owner of sessions: leases, runners and the SessionHost port, in plain asyncio.

A harness holds some partitions by lease and is then the only writer of their sessions (law 3). What
it keeps of a session is a cache of the log: a runner can be dropped at any moment and read back.
Whoever asks for a session of a partition that it does not hold is refused with Fenced, and nothing is
written. On Ray one actor delegates to one Harness; in a single process the gateway calls it directly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from agents.brains.registry import registry_of
from agents.errors import HecatonError, InvalidRequest, LogConflict, NotFound, Unavailable
from agents.ids import SessionId
from agents.sessions.budget import Budgets
from agents.sessions.bus import Subscription
from agents.sessions.changes import apply_changes
from agents.sessions.compaction import Compaction
from agents.sessions.draft import Draft
from agents.sessions.evaluation import call_off_outcome
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus
from agents.sessions.host import Frame
from agents.sessions.intake import admit, check_open
from agents.sessions.leasing import PartitionKeeper
from agents.sessions.ledger import workspace_of
from agents.sessions.lifecycle import TurnRules, archive_thread, terminate
from agents.sessions.log import Lease
from agents.sessions.observing import untold_since
from agents.sessions.owner import StaleRunner
from agents.sessions.partition import partition_of
from agents.sessions.ports import HarnessPorts
from agents.sessions.removals import Removals
from agents.sessions.repeats import ClientRequest
from agents.sessions.runner import SessionRunner
from agents.sessions.runners import Runners
from agents.sessions.state import SessionState
from agents.sessions.wire import usage_wire
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder
from agents.telemetry.tracing.seeds import foreign_trace

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOAD_ATTEMPTS = 3
_RELEASE_SECONDS = 30.0
_RETRY_SECONDS = 0.5


class Harness:
    """Owns the sessions of the partitions that it holds."""

    def __init__(self, ports: HarnessPorts, *, owner: str, on_replaced: Callable[[], None] = lambda: None) -> None:
        """*on_replaced* hears that a later process has *owner*'s name; this one holds nothing any more."""
        self._ports = ports
        self._settings = ports.settings.harness
        registry = registry_of(ports.settings)
        budgets = Budgets(ports.prices, registry)
        self._rules = TurnRules(
            max_tool_rounds=self._settings.max_tool_rounds,
            usage_wire=lambda record, now: usage_wire(record, now, ports.prices),
            budgets=budgets,
            compaction=Compaction(ports.settings, registry, budgets, ports.tool_definitions),
            place=lambda record: ports.hands.place(workspace_of(record)),
            destination=lambda tool: ports.servers.destination(tool.at, tool.hand),
        )
        self._runners = Runners(
            ports,
            self._rules,
            lease_of=self._lease_of,
            on_fenced=self._lease_refused,
            on_gone=lambda partition: self._spawn(self._take_up([partition])),
        )
        self._keeper = PartitionKeeper(
            ports.leases,
            ports.clock,
            owner,
            self._runners,
            self._settings,
            on_gained=lambda partitions: self._spawn(self._take_up(partitions)),
            on_replaced=on_replaced,
            sides=ports.settings.standby.enabled,
        )
        self._removals = Removals(ports.log, ports.hands, ports.clock, ours=self._owns)
        self._background: set[asyncio.Task[None]] = set()
        self._owner = owner
        ports.metrics.recorder.collect(self._tell)

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Become a member and own what is due; unfinished sessions go on in the background. Raises Unavailable."""
        await self._keeper.start()

    async def stop(self) -> None:
        """Hand the partitions over, each once its turns have reached the end of a step, within the deadline."""
        await self._keeper.stop()
        await self._removals.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _take_up(self, partitions: Sequence[int]) -> None:
        """Go on with whatever is unfinished in *partitions*."""
        while held := [partition for partition in partitions if partition in self._keeper.held]:
            try:
                self._runners.bring_back(await self._ports.log.unfinished(held))
                self._removals.add(await self._ports.log.deleted(held))
                self._runners.bring_back(await self._untold(held))
                return
            except HecatonError as error:
                logger.warning("partitions %s wait for the store: %s", held, error.message)
            await self._ports.clock.sleep(_RETRY_SECONDS)

    async def _untold(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        """Name sessions of *partitions* whose last turns an owner that died may have told nobody of."""
        since = {partition: untold_since(self._ports, self._keeper.lease(partition)) for partition in partitions}
        died = {partition: moment for partition, moment in since.items() if moment is not None}
        return await self._ports.log.changed_since(list(died), min(died.values())) if died else ()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @property
    def active(self) -> int:
        """Sessions with a turn under way."""
        return self._runners.active

    @property
    def running(self) -> list[tuple[str, datetime]]:
        """The sessions with a turn under way, with the time of their last commit."""
        return self._runners.running

    @property
    def inherited(self) -> int:
        """How many partitions were claimed so far that had an owner before."""
        return self._keeper.inherited

    @property
    def figures(self) -> dict[str, int]:
        """What goes on here, for people and metrics."""
        return {
            "active": self._runners.active,
            "cached": len(self._runners),
            "removals": len(self._removals),
            "generation": self._keeper.generation,
            "partitions": len(self._keeper.held),
            "takeovers": self._keeper.takeovers,
            "calls_resumed": self._ports.effects.resumed,
            "calls_repeated": self._ports.effects.repeated,
            "calls_ambiguous": self._ports.effects.ambiguous,
            "handovers": self._keeper.handovers,
            **self._ports.compactions.figures,
            **self._ports.hand_cache.figures,
            **self._ports.tracing.figures,
        }

    def _tell(self, recorder: Recorder) -> None:
        recorder.set(catalogue.LEASES, len(self._keeper.held), self._owner)
        recorder.set(catalogue.TAKEOVERS, self._keeper.inherited)
        recorder.set(catalogue.RETRIES, self._ports.effects.repeated, "tool_call")

    # -- ownership -------------------------------------------------------------------------------

    def check_owner(self, session_id: str) -> None:
        """Raise Fenced unless the session's partition is held here."""
        self._keeper.lease(partition_of(session_id, self._settings.partitions))

    def _lease_of(self, partition: int) -> Lease:
        return self._keeper.lease(partition)

    def _lease_refused(self, lease: Lease) -> None:
        self._keeper.lose(lease)

    def _owns(self, session_id: str) -> bool:
        return partition_of(session_id, self._settings.partitions) in self._keeper.held

    async def _apply(self, session_id: SessionId, change: Callable[[Draft], T]) -> T:
        async def work(runner: SessionRunner) -> T:
            return await runner.apply(change)

        return await self._with_runner(session_id, work)

    async def _with_runner(self, session_id: SessionId, work: Callable[[SessionRunner], Coroutine[Any, Any, T]]) -> T:
        for _ in range(_LOAD_ATTEMPTS):
            runner = await self._runners.get(session_id)
            try:
                return await work(runner)
            except (StaleRunner, LogConflict):
                self._runners.forget(runner)
        raise Unavailable(f"session {session_id} is being taken over", retry_after=1.0)

    def _check_room(self, session_id: str) -> None:
        """Refuse at once, without reading the session, what could not start a turn anyway."""
        runner = self._runners.known(session_id)
        if runner is None or not runner.running:
            self._runners.room.check_any()

    def _admit(self, draft: Draft, request: ClientRequest) -> list[Event]:
        echo = draft.session.accepted.echo(request, draft.now.timestamp())
        if echo is not None:
            return echo
        # What concerns a running session always may come: an interrupt is what makes room.
        starts = any(event["type"] != EventType.USER_INTERRUPT for event in request.events)
        if starts and not draft.session.busy:
            self._runners.room.check(draft.state.record.principal)
        return admit(draft, self._rules, request, self._settings)

    # -- SessionHost -----------------------------------------------------------------------------

    async def create(self, record: SessionRecord, initial_events: Sequence[dict[str, Any]]) -> SessionRecord:
        """See SessionHost.create."""
        session_id = SessionId(record.id)
        self.check_owner(session_id)
        self._check_room(session_id)
        trace = foreign_trace(session_id, initial_events)

        def change(draft: Draft) -> None:
            if initial_events:
                self._admit(draft, ClientRequest.of(initial_events, traceparent=trace))

        stored = await self._runners.create(record, change)
        if stored is None:  # by an earlier try
            stored = await self._apply(session_id, lambda draft: draft.state.record)
        if stored.created_at != record.created_at:
            raise LogConflict(f"session {session_id} is already stored, and is another one")
        return stored

    async def send(
        self,
        session_id: SessionId,
        events: Sequence[dict[str, Any]],
        *,
        repeat_key: str | None = None,
        again: bool = False,
    ) -> list[dict[str, Any]]:
        """See SessionHost.send."""
        self.check_owner(session_id)
        self._check_room(session_id)
        span = self._ports.settings.gateway.retry_dedupe_seconds
        trace = foreign_trace(session_id, events)
        request = ClientRequest.of(events, repeat_key=repeat_key, again=again, span=span, traceparent=trace)
        echoes = await self._apply(session_id, lambda draft: self._admit(draft, request))
        return [echo.wire() for echo in echoes]

    async def update(self, session_id: SessionId, changes: dict[str, Any]) -> SessionRecord:
        """See SessionHost.update."""

        def change(draft: Draft) -> SessionRecord:
            if draft.session.paused and "budget" in changes:
                self._runners.room.check(draft.state.record.principal)
            return apply_changes(draft, self._rules, changes)

        return await self._apply(session_id, change)

    async def archive(self, session_id: SessionId) -> SessionRecord:
        """See SessionHost.archive."""

        def change(draft: Draft) -> SessionRecord:
            if draft.state.record.archived_at is None:
                _check_not_busy(draft.session, "archived")
                call_off_outcome(draft)
                terminate(draft)
                draft.state.set(archived_at=draft.now)
            return draft.state.record

        record = await self._apply(session_id, change)
        self._spawn(self._put_away(session_id))
        return record

    async def _put_away(self, session_id: SessionId) -> None:
        """End an archived session's sandbox; where that fails, it ends later because nobody uses it."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._ports.hands.release(session_id, destroy=False)
        except (HecatonError, OSError) as error:
            logger.warning("the sandbox of %s was not released: %s: %s", session_id, type(error).__name__, error)

    async def archive_thread(self, session_id: SessionId, thread_id: str) -> None:
        """See SessionHost.archive_thread."""

        def change(draft: Draft) -> None:
            thread = draft.session.threads.get(thread_id)
            if thread is None or thread.primary:
                raise NotFound(f"session {session_id} has no thread {thread_id} that can be archived")
            if thread.archived:
                return
            check_open(draft.session)
            if thread.status is not SessionStatus.IDLE:
                words = f"thread {thread_id} is {thread.status.value}: only an idle thread can be archived"
                raise InvalidRequest(words)
            archive_thread(draft.of(thread), self._rules)

        await self._apply(session_id, change)

    async def delete(self, session_id: SessionId) -> None:
        """See SessionHost.delete."""

        async def work(runner: SessionRunner) -> None:
            await runner.delete(lambda state: _check_not_busy(state, "deleted"))
            self._runners.forget(runner)

        await self._with_runner(session_id, work)
        self._removals.add([session_id])

    @asynccontextmanager
    async def watch(
        self, session_id: SessionId, *, previews: frozenset[str]
    ) -> AsyncGenerator[AsyncIterator[Sequence[Frame]]]:
        """See SessionHost.watch. Raises Fenced."""
        self.check_owner(session_id)
        limits = self._ports.settings.gateway
        subscription = Subscription(
            previews, max_frames=limits.stream_queue_frames, max_bytes=limits.stream_queue_bytes
        )
        self._ports.bus.attach(session_id, subscription)
        try:
            yield aiter(subscription)
        finally:
            self._ports.bus.detach(session_id, subscription)


def _check_not_busy(state: SessionState, verb: str) -> None:
    if state.busy:
        raise InvalidRequest(f"session {state.record.id} is {state.status.value}: only an idle session can be {verb}")
