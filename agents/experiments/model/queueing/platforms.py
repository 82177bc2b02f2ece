"""The two topologies: what a turn waits for, holds and gives back, and what a fault takes down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence

from agents.experiments.model.queueing.brain import Gpu, GpuPool
from agents.experiments.model.queueing.hands import Call, HandPool
from agents.experiments.model.queueing.inputs import Faults, System
from agents.experiments.model.queueing.schedule import Event, Schedule
from agents.experiments.model.queueing.tally import FAILED, SERVED, Tally
from agents.experiments.model.queueing.turns import Turn

Lifetime = Callable[[Faults], float]
"""How long a replica lives, drawn by lot."""


class Platform(ABC):
    """What both have in common: the course of a turn from part to part."""

    def __init__(
        self, schedule: Schedule, tally: Tally, system: System, ended: Callable[[], None], lifetime: Lifetime
    ) -> None:
        """*ended* is called with each turn's end."""
        self.schedule = schedule
        self.tally = tally
        self.system = system
        self.lifetime = lifetime
        self.pools: list[HandPool] = []
        self._ended = ended
        self._before = system.overhead.before.values
        self._between = system.overhead.between.values
        self._after = system.overhead.after.values
        self._seconds = {tool: seconds.values for tool, seconds in system.tools.items()}

    # -- the course of a turn ----------------------------------------------------------------------

    def begin(self, turn: Turn) -> None:
        """Let *turn* begin, or begin again."""
        turn.begin()
        self.place(turn, turn.lot())
        self.later(turn, _drawn(self._before, turn), self.admit)

    def answered(self, _: Gpu, turn: Turn) -> None:
        """Go on after an answer."""
        if tools := turn.part.tools:
            self.act(turn, tools)
        elif turn.step + 1 < len(turn.shape.steps):
            self.acted(turn)
        else:
            self.later(turn, _drawn(self._after, turn), self.finish)

    def acted(self, turn: Turn) -> None:
        """Go on after a step's tools."""
        turn.step += 1
        self.later(turn, _drawn(self._between, turn), self.think)

    def finish(self, turn: Turn) -> None:
        """End a turn that has its answer."""
        self.tally.counts.served += 1
        self._end(turn, SERVED)

    def fail(self, turn: Turn) -> None:
        """End a turn that is lost."""
        turn.epoch += 1
        self.tally.counts.failed += 1
        self._end(turn, FAILED)

    def _end(self, turn: Turn, outcome: int) -> None:
        now = self.schedule.now
        self.tally.turns.change(-1, now)
        self.tally.outcome[turn.number] = outcome
        self.tally.latency[turn.number] = now - turn.due
        self._ended()

    def spoke(self, turn: Turn, at: float) -> None:
        """Take note that the first token of an answer comes at that moment."""
        shape = turn.shape
        # Counted from the end where it is below 0, as an index is.
        if turn.step == shape.speaks_at % len(shape.steps) and not turn.said:
            turn.said = True
            self.tally.first[turn.number] = at - turn.due

    def later(self, turn: Turn, seconds: float, action: Callable[[Turn], None]) -> None:
        """Do *action* in so many seconds, unless the turn is lost before."""
        if seconds:
            self.schedule.after(seconds, _go_on, (turn, turn.epoch, action))
        else:
            action(turn)

    def tool_seconds(self, turn: Turn, tool: str) -> float:
        """Draw how long the turn's next call takes."""
        return _drawn(self._seconds[tool], turn)

    # -- what differs ------------------------------------------------------------------------------

    @abstractmethod
    def place(self, turn: Turn, lot: float) -> None:
        """Say by *lot* where the turn belongs."""

    @abstractmethod
    def admit(self, turn: Turn) -> None:
        """Let the turn in to its first model request."""

    @abstractmethod
    def think(self, turn: Turn) -> None:
        """Make the model request of the turn's step."""

    @abstractmethod
    def act(self, turn: Turn, tools: Sequence[str]) -> None:
        """Run a step's tools."""


def _drawn(values: Sequence[float], turn: Turn) -> float:
    return values[int(turn.lot() * len(values))]


def _go_on(event: Event) -> None:
    turn, epoch, action = event.value
    if turn.epoch == epoch:
        action(turn)


class Decoupled(Platform):
    """A place at a GPU is held while it thinks; hands are elsewhere. A fault costs what it hits another try."""

    def __init__(
        self, schedule: Schedule, tally: Tally, system: System, ended: Callable[[], None], lifetime: Lifetime
    ) -> None:
        super().__init__(schedule, tally, system, ended, lifetime)
        self._gpus = GpuPool(schedule, tally, system.brain.max_batch)
        for _ in range(system.gpus):
            self._add_gpu(Gpu(schedule, system.brain, tally, done=self._thought, first=self.spoke))
        pools = {
            hands.name: HandPool(schedule, tally, hands, done=self._called, lost=self._call_lost, lifetime=lifetime)
            for hands in system.hands
        }
        self.pools = list(pools.values())
        self._pool_of = {tool: pools[system.hands_of(tool).name] for tool in system.tools}

    def place(self, turn: Turn, lot: float) -> None:
        """Any replica will do."""

    def admit(self, turn: Turn) -> None:
        self._gpus.ask(turn)

    def think(self, turn: Turn) -> None:
        self._gpus.ask(turn)

    def _thought(self, gpu: Gpu, turn: Turn) -> None:
        self._gpus.free(gpu)
        self.answered(gpu, turn)

    def act(self, turn: Turn, tools: Sequence[str]) -> None:
        turn.open_calls = len(tools)
        if self.system.parallel_calls:
            # All drawn before the first may end, so that each gets the same lot whatever the load.
            for call in [Call(turn, tool, self.tool_seconds(turn, tool)) for tool in tools]:
                self._pool_of[call.tool].ask(call)
        else:
            self._next_call(turn, tools)

    def _next_call(self, turn: Turn, tools: Sequence[str]) -> None:
        tool = tools[len(tools) - turn.open_calls]
        self._pool_of[tool].ask(Call(turn, tool, self.tool_seconds(turn, tool)))

    def _called(self, call: Call) -> None:
        turn = call.turn
        if call.epoch != turn.epoch:
            return
        turn.open_calls -= 1
        if not turn.open_calls:
            self.acted(turn)
        elif not self.system.parallel_calls:
            self._next_call(turn, turn.part.tools)

    # -- faults ------------------------------------------------------------------------------------

    def _add_gpu(self, gpu: Gpu) -> None:
        self._gpus.add(gpu)
        if (faults := self.system.brain_faults) is not None:
            self.schedule.after(self.lifetime(faults), self._gpu_lost, gpu)

    def _gpu_lost(self, event: Event) -> None:
        gpu: Gpu = event.value
        faults = self.system.brain_faults
        assert faults is not None, "only replicas with faults are lost"
        self.tally.counts.faults += 1
        self.schedule.after(faults.replace_seconds, lambda _: self._add_gpu(gpu))
        for turn in self._gpus.lose(gpu):
            if self._try_again(turn):
                self._gpus.ask(turn)

    def _call_lost(self, call: Call) -> None:
        if call.epoch == call.turn.epoch and self._try_again(call.turn):
            self._pool_of[call.tool].ask(call)

    def _try_again(self, turn: Turn) -> bool:
        if turn.part_retries == self.system.part_retries:
            self.fail(turn)
            return False
        turn.part_retries += 1
        self.tally.try_again(turn.number)
        return True


class _Whole:
    """One replica of a monolith: a GPU, and the turns that hold its slots."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.up = True
        self.turns: dict[Turn, None] = {}
        self.waiting: deque[Turn] = deque()


class Monolith(Platform):
    """A turn belongs to one replica and holds one of its slots to its end. A fault takes all of them down."""

    def __init__(
        self, schedule: Schedule, tally: Tally, system: System, ended: Callable[[], None], lifetime: Lifetime
    ) -> None:
        super().__init__(schedule, tally, system, ended, lifetime)
        self._slots = system.slots
        self._faults = system.whole_faults
        self._wholes = [
            _Whole(Gpu(schedule, system.brain, tally, done=self.answered, first=self.spoke)) for _ in range(system.gpus)
        ]
        self._owners: dict[Turn, _Whole] = {}
        for whole in self._wholes:
            self._expect_fault(whole)

    def place(self, turn: Turn, lot: float) -> None:
        self._owners[turn] = self._wholes[int(lot * len(self._wholes))]

    def admit(self, turn: Turn) -> None:
        turn.asked = self.schedule.now
        whole = self._owners[turn]
        if whole.up and len(whole.turns) < self._slots:
            self._hold(whole, turn)
        else:
            whole.waiting.append(turn)

    def _hold(self, whole: _Whole, turn: Turn) -> None:
        now, counts = self.schedule.now, self.tally.counts
        counts.brain_wait += now - turn.asked
        counts.brain_waits += 1
        self.tally.held.change(1, now)
        whole.turns[turn] = None
        whole.gpu.ask(turn)

    def think(self, turn: Turn) -> None:
        self._owners[turn].gpu.ask(turn)

    def act(self, turn: Turn, tools: Sequence[str]) -> None:
        """The tools run in the replica, which has room for as many calls as it has turns."""
        seconds = [self.tool_seconds(turn, tool) for tool in tools]
        together = max(seconds) if self.system.parallel_calls else sum(seconds)
        turn.open_calls = len(tools)
        self.later(turn, together, self._called)

    def _called(self, turn: Turn) -> None:
        self.tally.counts.tool_calls += turn.open_calls
        self.acted(turn)

    def finish(self, turn: Turn) -> None:
        whole = self._owners.pop(turn)
        del whole.turns[turn]
        self.tally.held.change(-1, self.schedule.now)
        super().finish(turn)
        self._fill(whole)

    def _fill(self, whole: _Whole) -> None:
        while whole.up and whole.waiting and len(whole.turns) < self._slots:
            self._hold(whole, whole.waiting.popleft())

    # -- faults ------------------------------------------------------------------------------------

    def _expect_fault(self, whole: _Whole) -> None:
        if self._faults is not None:
            self.schedule.after(self.lifetime(self._faults), self._lost, whole)

    def _lost(self, event: Event) -> None:
        whole: _Whole = event.value
        assert self._faults is not None, "only replicas with faults are lost"
        whole.up = False
        self.tally.counts.faults += 1
        self.schedule.after(self._faults.replace_seconds, self._replaced, whole)
        whole.gpu.lose()
        lost = list(whole.turns)
        whole.turns.clear()
        self.tally.held.change(-len(lost), self.schedule.now)
        for turn in lost:
            self._owners.pop(turn)
            if turn.turn_retries == self.system.turn_retries:
                self.fail(turn)
            else:
                turn.epoch += 1
                turn.turn_retries += 1
                self.tally.try_again(turn.number)
                self.begin(turn)

    def _replaced(self, event: Event) -> None:
        whole: _Whole = event.value
        whole.up = True
        self._expect_fault(whole)
        self._fill(whole)
