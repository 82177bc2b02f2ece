"""Members, leases and writers over a real store, step by step against the model (ADR 12).

Processes join, claim, renew, release and leave; their clocks differ and jump. One that is not chosen for a
while is a paused one: it keeps the leases it believes in, and writes with them when it is chosen again. Any
transaction may break before or after any of its statements and before or after its commit; then the writer
does not know, and may ask for the same commit again. After every step the store must be what the model says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from agents.ids import SessionId, new_session_id
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus
from agents.sessions.log import Commit, Lease

from .crashing import Fault
from .lease_model import Change, Kind
from .lease_referee import SILENCE_MS, Referee, together
from .lease_steps import (
    NAMES,
    PARTITIONS,
    T0,
    TTL,
    Process,
    What,
    Write,
    any_of,
    faults,
    new_event,
    new_record,
    one_write,
    partitions,
    some_of,
    writes,
)
from .lease_targets import SkewedClock

MAX_PROCESSES = 4
MAX_SESSIONS = 6


class LeaseMachine(Referee):
    """The rules."""

    # -- processes come and go, and write at once ------------------------------------------------

    @initialize()
    def two_processes(self) -> None:
        self.start(0, 0, (), ())
        self.claim(0, list(PARTITIONS), (), ())
        self.start(1, 0, (), ())

    @precondition(lambda self: len(self.processes) < MAX_PROCESSES)
    @rule(name=st.integers(0, len(NAMES) - 1), skew=st.integers(-30_000, 30_000), faults=faults, then=writes)
    def start(self, name: int, skew: int, faults: Sequence[Fault], then: Sequence[Write]) -> None:
        """A process joins; an earlier one of its name may still be there, paused, and never hears of it."""
        clock = SkewedClock(self.time, skew)
        process = Process(NAMES[name], clock, self.target.open(clock))
        joining = process.store.leases.join(process.name, ttl=TTL)
        joined = self.call(process, joining, lambda: self.model.join(process.name, until=process.until), faults)
        if joined is not None:
            process.generation = joined
            self.processes.append(process)
        self.write(then)

    @precondition(lambda self: len(self.processes) > 2)
    @rule(who=any_of, then=writes)
    def kill(self, who: int, then: Sequence[Write]) -> None:
        self.processes.remove(self.process(who))
        self.write(then)

    @precondition(lambda self: self.processes)
    @rule(seconds=st.sampled_from([0, 1, 9, 11]), who=any_of, jump=st.integers(-40, 40), then=writes)
    def time_passes(self, seconds: int, who: int, jump: int, then: Sequence[Write]) -> None:
        """For everybody; and one clock jumps, forward or back."""
        self.time.now += seconds * 1000
        self.process(who).clock.skew += jump * 1000
        self.write(then)

    @precondition(lambda self: len(self.processes) > 1)
    @rule(who=any_of, then=writes)
    def take_over(self, who: int, then: Sequence[Write]) -> None:
        """Everybody falls silent but one, who claims all; the others keep what they believe in."""
        self.run(self.overtaken(self.process(who)))
        self.write(then)

    @precondition(lambda self: 0 < len(self.processes) < MAX_PROCESSES)
    @rule(who=any_of, then=writes)
    def succeed(self, who: int, then: Sequence[Write]) -> None:
        """A process is paused and taken for dead: another joins under its name and claims what it had."""
        paused = self.process(who)
        self.start(NAMES.index(paused.name), 0, (), ())
        self.claim(len(self.processes) - 1, sorted(paused.held) or list(PARTITIONS), (), then)

    # -- leases ----------------------------------------------------------------------------------

    @precondition(lambda self: self.processes)
    @rule(who=any_of, wanted=partitions, faults=faults, then=writes)
    def claim(self, who: int, wanted: list[int], faults: Sequence[Fault], then: Sequence[Write]) -> None:
        process = self.process(who)
        leases = self.call(process, self.claiming(process, wanted), lambda: self.model_claims(process, wanted), faults)
        if leases is not None:
            self.granted(process, leases)
        self.write(then)

    @precondition(lambda self: self.processes)
    @rule(who=any_of, staying=st.booleans(), faults=faults, then=writes)
    def renew(self, who: int, staying: bool, faults: Sequence[Fault], then: Sequence[Write]) -> None:
        process = self.process(who)

        def expected() -> list[Lease]:
            self.check_generation(process)
            counts_until = process.until if staying else process.clock.milliseconds
            return self.model.renew(process.name, until=process.until, counts_until=counts_until)

        renewing = process.store.leases.renew(process.name, process.generation, ttl=TTL, staying=staying)
        leases = self.call(process, renewing, expected, faults)
        if leases is not None:
            self.owned(process, leases)
            process.keep(leases)
        self.write(then)

    @precondition(lambda self: self.processes)
    @rule(who=any_of, given=partitions, forgets=st.booleans(), faults=faults, then=writes)
    def release(
        self, who: int, given: list[int], forgets: bool, faults: Sequence[Fault], then: Sequence[Write]
    ) -> None:
        """Give partitions back; a process that does not forget them goes on writing with them."""
        process = self.process(who)

        def expected() -> None:
            self.check_generation(process)
            self.model.release(process.name, given)

        self.call(process, process.store.leases.release(process.name, process.generation, given), expected, faults)
        if forgets:
            process.keep([lease for lease in process.held.values() if lease.partition not in given])
        self.write(then)

    @precondition(lambda self: len(self.processes) > 2)
    @rule(who=any_of, faults=faults, then=writes)
    def leave(self, who: int, faults: Sequence[Fault], then: Sequence[Write]) -> None:
        """Leave; the process stays, and goes on as if it had not: it claims, and writes."""
        process = self.process(who)
        leaving = process.store.leases.leave(process.name, process.generation)
        self.call(process, leaving, lambda: self.model.leave(process.name, process.generation), faults)
        if process in self.processes:
            self.claim(self.processes.index(process), list(PARTITIONS), (), then)

    # -- the log ---------------------------------------------------------------------------------

    @precondition(lambda self: self.pairs())
    @rule(first=one_write, then=writes)
    def write_on(self, first: Write, then: list[Write]) -> None:
        self.write([first, *then])

    def write(self, writes: Sequence[Write]) -> None:
        """Do of *writes* what can be done."""
        for write in writes:
            paused = write.what is What.PAUSED
            if not (self.stale() if paused else self.pairs()):
                continue
            process, lease = self.writer(write.whose, stale=paused)
            if write.what is What.AGAIN:
                self.ask_again(process, write)
            elif write.what is What.CREATE:
                self.submit(process, self.created(lease, write), write)
            elif write.what in (What.SAY, What.WORK):
                self.converse(process, lease, write)
            elif self.model.sessions:
                self.submit(process, self.drafted(lease, write), write)

    def created(self, lease: Lease, write: Write) -> list[Change]:
        """New sessions; each starts idle, or at work with a message that waits."""
        changes: list[Change] = []
        for _ in write.which[: MAX_SESSIONS - len(self.model.sessions)]:
            name = new_session_id()
            self.sessions.append(name)
            waiting = [new_event(lease, EventType.USER_MESSAGE)] if write.number % 2 else []
            status = SessionStatus.RUNNING if waiting else SessionStatus.IDLE
            before = new_record(name, lease.partition)
            changes.append(self.change(Kind.CREATE, lease, before, [new_event(lease)], waiting, status=status))
        return changes

    def drafted(self, lease: Lease, write: Write) -> list[Change]:
        """Changes of stored sessions, whatever their writer knows of them."""
        names = list(dict.fromkeys(self.session(each, lease) for each in write.which))
        records = [self.model.sessions[name].record for name in names]
        events = [new_event(lease) for _ in range(write.number)]
        if write.what is What.DELETE:
            return [Change(Kind.DELETE, Commit(lease, 0, new_record(names[0], lease.partition)))]
        if write.what is What.ELSEWHERE:
            off = (-1, 1, 2)[write.whose % 3]
            return [self.change(Kind.APPEND, lease, replace(records[0], seq=max(0, records[0].seq + off)), events)]
        if write.what is What.PAUSED and not events:
            # A message that waits moves no position: nothing but the epoch can tell that it comes too late.
            return [self.change(Kind.APPEND, lease, records[0], [], [new_event(lease, EventType.USER_MESSAGE)])]
        changes = [self.change(Kind.APPEND, lease, record, [new_event(lease)]) for record in records]
        if write.what is What.CHAIN:
            changes.append(self.change(Kind.APPEND, lease, changes[0].commit.record, [*events, new_event(lease)]))
        if write.what is What.REPEAT:
            ids = [event_id for session in self.model.sessions.values() for event_id, _ in session.log]
            twice = replace(new_event(lease), id=ids[-1 - write.number % len(ids)])
            changes[0] = self.change(Kind.APPEND, lease, records[0], [new_event(lease), twice])
        return changes

    # -- what an owner does: law 4 ---------------------------------------------------------------

    def converse(self, process: Process, lease: Lease, write: Write) -> None:
        """Messages come, or the owner works, from what it has in memory of a session of its own."""
        for _ in range(1 + write.number):
            cached = self.cached(process, lease, write.which[0]) if process in self.processes else None
            if cached is None:
                return
            change, waiting = self.say(lease, *cached) if write.what is What.SAY else self.work(lease, *cached)
            if change is not None:
                self.submit(process, [change], write, waiting)

    def say(self, lease: Lease, record: SessionRecord, waiting: list[Event]) -> tuple[Change | None, list[Event]]:
        """A message comes: an idle session takes it up at once, in a working one it waits."""
        message = new_event(lease, EventType.USER_MESSAGE)
        if record.status is SessionStatus.RUNNING:
            return self.change(Kind.APPEND, lease, record, [], [message]), [*waiting, message]
        started = [new_event(lease, EventType.SESSION_RUNNING), replace(message, processed_at=T0)]
        return self.change(Kind.APPEND, lease, record, started, status=SessionStatus.RUNNING), []

    def work(self, lease: Lease, record: SessionRecord, waiting: list[Event]) -> tuple[Change | None, list[Event]]:
        """A working session takes up what waits; when nothing does it goes idle, in the same commit."""
        if record.status is not SessionStatus.RUNNING:
            return None, waiting
        if not waiting:
            return self.change(Kind.APPEND, lease, record, [new_event(lease)], status=SessionStatus.IDLE), []
        taken = [replace(event, processed_at=T0, body={"epoch": lease.epoch}) for event in waiting]
        consumed = [event.id for event in taken]
        return self.change(Kind.APPEND, lease, record, taken, consume=consumed, queued=0), []

    def cached(self, process: Process, lease: Lease, which: int) -> tuple[SessionRecord, list[Event]] | None:
        """What the process has in memory of a session of its partition, read from the store when it has nothing."""
        near = [name for name in self.stored() if self.model.sessions[name].record.partition == lease.partition]
        if not near:
            return None
        name = near[-1 - which % len(near)]
        if name not in process.seen:
            snapshot = self.run(process.store.log.load(SessionId(name)))
            session = self.model.sessions[name]
            assert [event.id for event in snapshot.events] == [event_id for event_id, _ in session.log]
            assert [event.id for event in snapshot.queued] == session.queue
            process.seen[name] = (snapshot.record, list(snapshot.queued))
        return process.seen[name]

    # -- several at once, and looking ------------------------------------------------------------

    @precondition(lambda self: self.pairs() and self.model.sessions and len(self.processes) > 1)
    @rule(whose=any_of, other=any_of, which=some_of)
    def a_claim_overtakes_appends(self, whose: int, other: int, which: tuple[int, ...]) -> None:
        """An append and the claim that fences it travel at once: it is whole before the claim, or it never was."""
        process, lease = self.writer(whose, stale=False)
        claimant = self.process(other)
        if claimant is process or self.model.fenced(claimant.name, claimant.generation):
            return
        self.time.now += SILENCE_MS
        self.verified = False
        names = dict.fromkeys(self.session(each, lease) for each in which)
        records = [self.model.sessions[name].record for name in names]
        changes = [self.change(Kind.APPEND, lease, record, [new_event(lease)]) for record in records]
        process.store.database.arm()
        claimant.store.database.arm()
        *outcomes, claimed = self.run(
            together(*(process.ask(change) for change in changes), self.claiming(claimant, [lease.partition]))
        )
        if not claimed:
            # PostgreSQL's claim leaves out what is being written just then. Now nothing is.
            claimed = self.run(self.claiming(claimant, [lease.partition]))
        won = [change for change, outcome in zip(changes, outcomes, strict=True) if outcome is None]
        for change in won:
            self.model.apply(change)
            self.acknowledge(change)
        assert claimed == self.model_claims(claimant, [lease.partition])
        self.granted(claimant, claimed)
        for change, outcome in zip(changes, outcomes, strict=True):
            assert change in won or type(outcome) is self.model.verdict(change)
            process.seen.pop(change.session_id, None)

    @precondition(lambda self: self.processes)
    @rule(who=any_of, cleans_up=st.booleans())
    def look(self, who: int, cleans_up: bool) -> None:
        """What a new owner would read: leases, members, unfinished sessions, deletions to see to (and see to one)."""
        process = self.process(who)
        log, now = process.store.log, process.clock.milliseconds
        table = self.run(process.store.leases.table())
        assert table.owners == {
            n: each.owner for n, each in self.model.leases.items() if each.owner and each.until > now
        }
        assert set(table.members) == {name for name, (_, until) in self.model.members.items() if until > now}
        for n in PARTITIONS:
            assert self.run(log.unfinished([n])) == self.model.unfinished([n])
            deleted = sorted(name for name, where in self.model.deleted.items() if where == n)
            assert self.run(log.deleted([n])) == deleted
            if deleted and cleans_up:
                self.verified = False
                process.store.database.arm()
                self.run(log.forget_deleted(SessionId(deleted[0])))
                del self.model.deleted[deleted[0]]

    # -- what must always hold -------------------------------------------------------------------

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        if not self.verified:
            self.verify(self.run(self.target.observe()))
