"""Hands of a decoupled platform: replicas that run tools, the line before them, and how many there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil

from agents.experiments.model.queueing.inputs import Faults, Hands
from agents.experiments.model.queueing.places import Places
from agents.experiments.model.queueing.schedule import Event, Schedule
from agents.experiments.model.queueing.tally import Level, Tally
from agents.experiments.model.queueing.turns import Turn


class Call:
    """One tool call."""

    __slots__ = ("asked", "epoch", "replica", "seconds", "tool", "turn")

    def __init__(self, turn: Turn, tool: str, seconds: float) -> None:
        self.turn = turn
        self.tool = tool
        self.epoch = turn.epoch
        self.seconds = seconds
        self.asked = 0.0
        self.replica: HandReplica | None = None


class HandReplica:
    """One replica, from when it takes calls until it ends or is lost."""

    __slots__ = ("calls", "gone", "load")

    def __init__(self) -> None:
        self.load = 0
        self.gone = False
        self.calls: dict[Call, None] = {}


class HandPool:
    """The replicas of one kind of hands."""

    def __init__(
        self,
        schedule: Schedule,
        tally: Tally,
        hands: Hands,
        *,
        done: Callable[[Call], None],
        lost: Callable[[Call], None],
        lifetime: Callable[[Faults], float],
    ) -> None:
        """*done* is called with each call's end, *lost* with each that its replica's fault has ended; *lifetime* says
        how long a replica lives."""
        self.hands = hands
        self.running = Level()
        """Calls that have a place."""
        self.replicas = Level()
        """Replicas that take calls."""
        tally.levels += [self.running, self.replicas]
        self._schedule = schedule
        self._tally = tally
        self._done = done
        self._lost = lost
        self._lifetime = lifetime
        self._places: Places[HandReplica] = Places(hands.concurrency)
        self._waiting: deque[Call] = deque()
        self._starting = 0
        self._spare_since: float | None = None
        for _ in range(max(1, hands.min_replicas)):
            self._add()
        if hands.min_replicas < hands.max_replicas:
            schedule.after(hands.decide_seconds, self._decide)

    def ask(self, call: Call) -> None:
        """Run *call*, when it is its turn."""
        call.asked = self._schedule.now
        replica = self._places.take()
        if replica is None:
            self._waiting.append(call)
        else:
            self._start(replica, call)

    def _start(self, replica: HandReplica, call: Call) -> None:
        now, tally = self._schedule.now, self._tally
        tally.counts.hand_wait += now - call.asked
        tally.counts.hand_waits += 1
        self.running.change(1, now)
        call.replica = replica
        replica.calls[call] = None
        self._schedule.after(call.seconds, self._ended, (call, replica))

    def _ended(self, event: Event) -> None:
        call, replica = event.value
        if call.replica is not replica:
            return
        call.replica = None
        del replica.calls[call]
        self.running.change(-1, self._schedule.now)
        self._tally.counts.tool_calls += 1
        if self._waiting:
            self._start(replica, self._waiting.popleft())
        else:
            self._places.give_back(replica)
        self._done(call)

    # -- how many there are ------------------------------------------------------------------------

    def _add(self) -> None:
        replica = HandReplica()
        self.replicas.change(1, self._schedule.now)
        self._places.add(replica)
        if self.hands.faults is not None:
            self._schedule.after(self._lifetime(self.hands.faults), self._fault, replica)
        while self._waiting and (free := self._places.take()) is not None:
            self._start(free, self._waiting.popleft())

    def _remove(self, replica: HandReplica) -> None:
        replica.gone = True
        self._places.remove(replica)
        self.replicas.change(-1, self._schedule.now)

    def _decide(self, _: Event) -> None:
        hands, now = self.hands, self._schedule.now
        wanted = ceil((self.running.value + len(self._waiting)) / hands.concurrency)
        wanted = min(max(wanted, hands.min_replicas), hands.max_replicas)
        spare = self.replicas.value + self._starting - wanted
        if spare <= 0:
            self._spare_since = None
            for _missing in range(-spare):
                self._start_one(hands.start_seconds)
        elif self._spare_since is None:
            self._spare_since = now
        elif now - self._spare_since >= hands.idle_seconds:
            self._end_idle(spare)
        self._schedule.after(hands.decide_seconds, self._decide)

    def _start_one(self, seconds: float) -> None:
        self._starting += 1
        self._schedule.after(seconds, self._started)

    def _started(self, _: Event) -> None:
        self._starting -= 1
        self._add()

    def _end_idle(self, most: int) -> None:
        """End up to *most* replicas that run nothing; others are looked at again with the next decision."""
        while most > 0 and (replica := self._places.idle()) is not None:
            self._remove(replica)
            most -= 1

    def _fault(self, event: Event) -> None:
        replica: HandReplica = event.value
        if replica.gone:
            return
        assert self.hands.faults is not None, "only replicas with faults are here"
        self._remove(replica)
        self._tally.counts.faults += 1
        self._start_one(self.hands.faults.replace_seconds)
        self.running.change(-len(replica.calls), self._schedule.now)
        for call in replica.calls:
            call.replica = None
        for call in replica.calls:
            self._lost(call)
