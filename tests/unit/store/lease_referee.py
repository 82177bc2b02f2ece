"""Who asks the store and the model the same, and holds the one to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from agents.errors import Fenced, HecatonError, Unavailable
from agents.sessions.events import Event, SessionRecord, SessionStatus
from agents.sessions.log import Commit, Lease

from .crashing import Fault, ProcessDied
from .lease_model import Change, Kind, Model, Picture
from .lease_steps import PARTITIONS, TTL, Process, Write
from .lease_targets import Target, Time

T = TypeVar("T")

SILENCE_MS = int(TTL * 1000) + 300_000
"""Longer than a lease lasts by any of the clocks, however they jumped."""


class Referee(RuleBasedStateMachine):
    """The processes, the store and the model, without the rules."""

    def __init__(self, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.time = Time()
        self.target = target
        self.run(target.clear())
        self.model = Model()
        self.processes: list[Process] = []
        self.sessions: list[str] = []
        self.acknowledged: dict[str, str] = {}
        """Events that a writer was told are stored, with their session."""
        self.owners: dict[Lease, Process] = {}
        self.marks = 0
        self.verified = False
        self.before = self.model.picture()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    # -- asking ----------------------------------------------------------------------------------

    def ask_again(self, process: Process, write: Write) -> None:
        if process.unknown:
            self.submit(process, [process.unknown.pop()], write)

    def claiming(self, process: Process, wanted: Sequence[int]) -> Coroutine[Any, Any, Sequence[Lease]]:
        return process.store.leases.claim(process.name, process.generation, wanted, ttl=TTL)

    def model_claims(self, process: Process, wanted: Sequence[int]) -> list[Lease]:
        self.check_generation(process)
        return self.model.claim(process.name, wanted, now=process.clock.milliseconds, until=process.until)

    def owned(self, process: Process, leases: Sequence[Lease]) -> None:
        for lease in leases:
            assert self.owners.setdefault(lease, process) is process, "two processes own a partition in one epoch"

    def granted(self, process: Process, leases: Sequence[Lease]) -> None:
        self.owned(process, leases)
        process.keep([*(each for each in process.held.values() if each not in leases), *leases])

    def check_generation(self, process: Process) -> None:
        if self.model.fenced(process.name, process.generation):
            raise Fenced(process.name)

    async def overtaken(self, claimant: Process) -> None:
        """Every lease runs out by every clock, and *claimant* claims everything."""
        if self.model.fenced(claimant.name, claimant.generation):
            return
        self.time.now += SILENCE_MS
        self.verified = False
        claimant.store.database.arm()
        leases = await self.claiming(claimant, PARTITIONS)
        assert leases == self.model_claims(claimant, PARTITIONS)
        self.granted(claimant, leases)

    def process(self, who: int) -> Process:
        return self.processes[who % len(self.processes)]

    def pairs(self) -> list[tuple[Process, Lease]]:
        return [(process, lease) for process in self.processes for lease in process.held.values()]

    def stale(self) -> list[tuple[Process, Lease]]:
        return [pair for pair in self.pairs() if not self.model.owns(pair[1])]

    def writer(self, whose: int, *, stale: bool) -> tuple[Process, Lease]:
        """One that may write, in three cases of four; else, or if asked for, one that only believes it may."""
        wrong = self.stale()
        good = [pair for pair in self.pairs() if pair not in wrong]
        chosen = wrong if stale or not good or (wrong and whose % 4 == 3) else good
        return chosen[whose % len(chosen)]

    def stored(self) -> list[str]:
        return [name for name in self.sessions if name in self.model.sessions]

    def session(self, which: int, lease: Lease) -> str:
        """Of the lease's partition, in three cases of four; else any."""
        stored = self.stored()
        near = [name for name in stored if self.model.sessions[name].record.partition == lease.partition]
        chosen = near if near and which % 4 != 3 else stored
        return chosen[-1 - which % len(chosen)]

    def change(
        self,
        kind: Kind,
        lease: Lease,
        before: SessionRecord,
        events: Sequence[Event],
        queue: Sequence[Event] = (),
        consume: Sequence[Any] = (),
        **columns: Any,
    ) -> Change:
        """Draft a change; the title of its row is its mark, by which it is known again."""
        self.marks += 1
        columns = {"title": f"change {self.marks}", "queued": before.queued + len(queue), **columns}
        record = replace(before, seq=before.seq + len(events), **columns)
        return Change(kind, Commit(lease, before.seq, record, tuple(events), tuple(queue), tuple(consume)))

    def call(
        self, process: Process, request: Awaitable[T], expected: Callable[[], T], faults: Sequence[Fault]
    ) -> T | None:
        """Ask something of the lease table; the model does it as often as a transaction went through."""
        database = process.store.database
        database.arm(*faults)
        self.verified = False
        answer = self.run(_outcome(request))
        if isinstance(answer, ProcessDied | Unavailable):
            assert database.broke
            for _ in range(database.committed):
                expected()
            self.bury_the_dead()
            return None
        right: T | HecatonError | None = None
        for _ in range(max(1, database.committed)):
            try:
                right = expected()
            except HecatonError as refusal:
                right = refusal
        if isinstance(right, HecatonError):
            assert type(answer) is type(right)
            return None
        assert answer == right
        return right

    def submit(
        self, process: Process, changes: Sequence[Change], write: Write, waiting: list[Event] | None = None
    ) -> None:
        """Ask for changes all at once and settle with the model what came of it.

        With *waiting* the change is the owner's own; when it succeeds the owner's cache follows.
        """
        if not changes:
            return
        database, (takeover, again) = process.store.database, write.aftermath
        database.arm(*write.faults)

        async def meanwhile() -> None:
            self.settle(changes, await self.target.observe())
            others = [each for each in self.processes if each.name != process.name]
            if takeover and others:
                await self.overtaken(others[-1])

        database.meanwhile = meanwhile
        outcomes = self.run(together(*(process.ask(change) for change in changes)))
        truth = self.run(self.target.observe())
        for change, outcome in zip(changes, outcomes, strict=True):
            process.seen.pop(change.session_id, None)
            if database.broke:
                self.settle([change], truth)
                assert outcome is not None or self.in_model(change), "told of what is not there"
            else:
                assert (None if outcome is None else type(outcome)) is self.model.verdict(change)
                if outcome is None:
                    self.model.apply(change)
            if outcome is None:
                self.acknowledge(change)
        if waiting is not None and outcomes[0] is None:
            process.seen[changes[0].session_id] = (changes[0].commit.record, waiting)
        unheard = [
            change for change, outcome in zip(changes, outcomes, strict=True) if isinstance(outcome, Unavailable)
        ]
        process.unknown = [*process.unknown, *unheard][-4:]
        self.bury_the_dead()
        self.verify(truth)
        if again and unheard and process in self.processes:
            self.ask_again(process, replace(write, faults=(), aftermath=(False, False)))

    def settle(self, pending: Sequence[Change], truth: Picture) -> None:
        """Let those of *pending* happen in the model that are in the store, by its own word."""
        for change in pending:
            if not self.in_model(change) and _is_in(truth, change):
                self.model.apply(change)

    def acknowledge(self, change: Change) -> None:
        if change.kind is not Kind.DELETE:
            self.acknowledged.update((event_id, change.session_id) for event_id in change.added)

    def in_model(self, change: Change) -> bool:
        stored = self.model.sessions.get(change.session_id)
        if change.kind is Kind.DELETE:
            return stored is None
        ids = {event_id for event_id, _ in stored.log} | set(stored.queue) if stored else set[str]()
        return self.model.has(change) or (bool(change.added) and ids.issuperset(change.added))

    def bury_the_dead(self) -> None:
        self.processes = [process for process in self.processes if not process.store.database.dead]

    # -- what must always hold -------------------------------------------------------------------

    def verify(self, picture: Picture) -> None:
        self.verified = True
        model = self.model.picture()
        assert picture == model, f"stored: {picture}\nmodel: {model}"
        self.check(picture)
        self.before = picture

    def check(self, picture: Picture) -> None:
        """The laws in their own words, of the store alone."""
        for partition, (_, epoch, _) in self.before.leases.items():
            assert picture.leases[partition][1] >= epoch, "an epoch went back"
        for name, (generation, _) in self.before.members.items():
            assert picture.members[name][0] >= generation, "a generation went back"
        everywhere: list[str] = []
        for name, session in picture.sessions.items():
            assert [seq for seq, _, _ in session.log] == list(range(1, session.seq + 1)), "positions with a gap"
            epochs = [epoch for _, _, epoch in session.log]
            assert epochs == sorted(epochs), "an earlier owner wrote after a later one"
            assert session.status != SessionStatus.IDLE.value or not session.queue, "idle with input that waits"
            before = self.before.sessions.get(name)
            assert before is None or session.log[: len(before.log)] == before.log, "the past changed"
            everywhere += [event_id for _, event_id, _ in session.log] + list(session.queue)
        there = set(everywhere)
        assert len(everywhere) == len(there), "an event is there twice"
        for name in self.before.sessions.keys() - picture.sessions.keys():
            assert name in picture.deleted, "a session is gone without a note"
        for event_id, name in self.acknowledged.items():
            assert event_id in there or name not in picture.sessions, "an acknowledged event is gone"


def _is_in(truth: Picture, change: Change) -> bool:
    stored = truth.sessions.get(change.session_id)
    if change.kind is Kind.DELETE or stored is None:
        return change.kind is Kind.DELETE and stored is None
    ids = {event_id for _, event_id, _ in stored.log} | set(stored.queue)
    return stored.title == change.commit.record.title or (bool(change.added) and ids.issuperset(change.added))


async def _outcome(request: Awaitable[Any]) -> Any:
    try:
        return await request
    except (HecatonError, ProcessDied) as error:
        return error


async def together(*requests: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*map(_outcome, requests)))
