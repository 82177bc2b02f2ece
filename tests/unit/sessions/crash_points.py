"""A harness that dies at chosen points, over a store and hands that live on, and a client that does not give up.

Every port of a life passes a *fuse* before and after what it does. When the fuse blows, the whole life
ends there: nothing of it acts on anything any more, its tasks are ended, and the next life starts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agents.brains.port import BrainRequest
from agents.brains.scripted import Scripted, ScriptedBrain
from agents.errors import NotFound
from agents.hands.port import ToolCall, ToolResult, Workspace
from agents.ids import SessionId
from agents.sessions.bus import Bus
from agents.sessions.events import Event, SessionRecord
from agents.sessions.harness import Harness
from agents.sessions.host import Frame
from agents.sessions.log import Commit, Lease, LeaseTable, SessionSnapshot
from tests.unit.sessions.conftest import World, make_world

_SPINS = 25
"""Turns of the event loop after which whatever can go on without the clock has done so."""


class Life:
    """One process's life; *blows* says at which points it ends."""

    def __init__(self, blows: Callable[[str], bool]) -> None:
        self._blows = blows
        self.alive = True
        self.dead = asyncio.Event()

    async def reach(self, point: str) -> None:
        """Pass a point, or end there; nothing that is dead gets past one."""
        if self.alive and self._blows(point):
            self.alive = False
            self.dead.set()
        if not self.alive:
            await asyncio.Event().wait()


class _MortalLog:
    def __init__(self, life: Life, log: Any) -> None:
        self._life = life
        self._log = log

    async def _commit(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        await self._life.reach(f"before {what}")
        await work()
        await self._life.reach(f"after {what}")

    async def create(self, commit: Commit) -> None:
        await self._commit("create", lambda: self._log.create(commit))

    async def append(self, commit: Commit) -> None:
        await self._commit("append", lambda: self._log.append(commit))

    async def delete(self, lease: Lease, session_id: SessionId) -> None:
        await self._commit("delete", lambda: self._log.delete(lease, session_id))

    async def load(self, session_id: SessionId) -> SessionSnapshot:
        await self._life.reach("load")
        return await self._log.load(session_id)

    async def unfinished(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        await self._life.reach("unfinished")
        return await self._log.unfinished(partitions)

    async def changed_since(self, partitions: Sequence[int], since: datetime) -> Sequence[SessionId]:
        await self._life.reach("changed_since")
        return await self._log.changed_since(partitions, since)

    async def deleted(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        await self._life.reach("deleted")
        return await self._log.deleted(partitions)

    async def forget_deleted(self, session_id: SessionId) -> None:
        await self._life.reach("forget")
        await self._log.forget_deleted(session_id)


class _MortalLeases:
    def __init__(self, life: Life, leases: Any) -> None:
        self._life = life
        self._leases = leases

    async def join(self, name: str, *, ttl: float) -> int:
        await self._life.reach("join")
        return await self._leases.join(name, ttl=ttl)

    async def claim(self, name: str, generation: int, partitions: Sequence[int], *, ttl: float) -> Sequence[Lease]:
        await self._life.reach("before claim")
        claimed = await self._leases.claim(name, generation, partitions, ttl=ttl)
        await self._life.reach("after claim")
        return claimed

    async def renew(self, name: str, generation: int, *, ttl: float, staying: bool = True) -> Sequence[Lease]:
        await self._life.reach("renew")
        return await self._leases.renew(name, generation, ttl=ttl, staying=staying)

    async def table(self) -> LeaseTable:
        await self._life.reach("table")
        return await self._leases.table()


class _MortalBrain:
    def __init__(self, life: Life, brain: ScriptedBrain) -> None:
        self._life = life
        self._brain = brain

    async def think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        await self._life.reach("ask the model")
        async for event in self._brain.think(request):
            yield event
            await self._life.reach("the model speaks")


class LastingHands:
    """A host that outlives every harness: it runs each call once, at once, and remembers what came of it.

    A call of ``slow`` takes until it is cancelled.
    """

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.cancelled: set[str] = set()
        self.released: list[str] = []
        self._results: dict[str, ToolResult] = {}

    def run(self, call: ToolCall) -> ToolResult:
        if call.call_id not in self._results:
            self.effects[call.call_id] += 1
            content = [{"type": "text", "text": f"ran {call.name} {call.input}"}]
            self._results[call.call_id] = ToolResult(call.call_id, content, host="host/1", version=len(self.effects))
        return self._results[call.call_id]


class _MortalHands:
    def __init__(self, life: Life, hands: LastingHands) -> None:
        self._life = life
        self._hands = hands

    def place(self, workspace: Workspace) -> str | None:
        # Not known before the first answer, so that both ways to commit an intent are gone.
        return workspace.host

    async def locate(self, workspace: Workspace) -> str:
        await self._life.reach("locate")
        return "host/1"

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        if self._life.alive:
            self._hands.cancelled.update(calls)

    async def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        assert host == "host/1", "a call goes out only under an intent"
        await self._life.reach("before execute")
        for call in calls:
            result = self._hands.run(call)
            await self._life.reach("a tool has run")
            if "slow" in call.input.get("command", ""):
                await asyncio.Event().wait()
            yield result
        await self._life.reach("after execute")

    async def release(self, session_id: str, *, destroy: bool) -> None:
        await self._life.reach("before release")
        self._hands.released.append(session_id)
        await self._life.reach("after release")


class _MortalMeter:
    def __init__(self, life: Life, meter: Any) -> None:
        self._life = life
        self._meter = meter

    async def record(self, rows: Sequence[Any]) -> None:
        await self._life.reach("meter")
        await self._meter.record(rows)


class _Watcher:
    """Everything that streams show of a session, in one life."""

    previews: frozenset[str] = frozenset()

    def __init__(self, life: Life, shown: list[Frame]) -> None:
        self._life = life
        self._shown = shown

    def deliver(self, session_id: str, frames: Sequence[Frame]) -> None:
        assert self._life.alive, "the dead show nothing"
        self._shown.extend(frames)

    def sever(self) -> None:
        pass


class Reborn:
    """One session, the lives of its owner, and its client.

    *crashes* says, for every point that is reached (counted over all lives), whether the life ends there.
    """

    def __init__(
        self, answers: Callable[[BrainRequest], Scripted], crashes: Callable[[int, str], bool], **settings: Any
    ) -> None:
        self.world: World = make_world(harness={"partitions": 1, "handover_seconds": 0}, **settings)
        self.brain = ScriptedBrain(by=answers)
        self.hands = LastingHands()
        self.record = self.world.new_record()
        self.points: list[str] = []
        self.shown: list[Frame] = []
        self.lives = 0
        self._crashes = crashes
        self._ours: set[asyncio.Task[Any] | None] = {asyncio.current_task()}
        self._life = Life(lambda _: False)
        self._harness: Harness | None = None

    @property
    def session(self) -> SessionId:
        return SessionId(self.record.id)

    def _blows(self, point: str) -> bool:
        self.points.append(point)
        return self._crashes(len(self.points) - 1, point)

    # -- lives -------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Be born, and whenever life has ended be born again."""
        while True:
            life = self._life = Life(self._blows)
            self.lives += 1
            ports = self._ports(life)
            ports.bus.attach(self.session, _Watcher(life, self.shown))
            harness = Harness(ports, owner="harness-0")
            birth = asyncio.create_task(harness.start())
            death = asyncio.create_task(life.dead.wait())
            self._ours.add(death)
            await asyncio.wait({birth, death}, return_when=asyncio.FIRST_COMPLETED)
            if life.alive:
                birth.result()
                self._harness = harness
            await death
            self._harness = None
            await self._bury()

    def _ports(self, life: Life) -> Any:
        return replace(
            self.world.ports,
            log=_MortalLog(life, self.world.store.log),
            leases=_MortalLeases(life, self.world.store.leases),
            brain=_MortalBrain(life, self.brain),
            hands=_MortalHands(life, self.hands),
            meter=_MortalMeter(life, self.world.meter),
            bus=Bus(),
        )

    async def _bury(self) -> None:
        remains = {task for task in asyncio.all_tasks() if task not in self._ours}
        for task in remains:
            task.cancel()
        await asyncio.gather(*remains, return_exceptions=True)

    # -- the client, and the gateway that asks again for it ------------------------------------------

    async def _call(self, work: Callable[[Harness, bool], Awaitable[Any]]) -> Any:
        asked_before = False
        while True:
            life, harness = self._life, self._harness
            if harness is None:
                await self._turn_of_the_loop()
                continue
            call = asyncio.ensure_future(work(harness, asked_before))
            while not call.done() and life.alive:
                await self._turn_of_the_loop()
            if life.alive:
                return call.result()
            asked_before = True
            while self._life is life:
                await asyncio.sleep(0)

    async def create(self, *initial_events: dict[str, Any]) -> SessionRecord:
        return await self._call(lambda harness, _: harness.create(self.record, initial_events))

    async def delete(self) -> None:
        async def delete(harness: Harness, again: bool) -> None:
            try:
                await harness.delete(self.session)
            except NotFound:
                assert again, "it was there a moment ago"

        await self._call(delete)

    async def send(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        """Send events that have their ids."""
        return await self._call(lambda harness, again: harness.send(self.session, events, again=again))

    async def update(self, **changes: Any) -> SessionRecord:
        return await self._call(lambda harness, _: harness.update(self.session, changes))

    async def wait_for(self, type_: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the log has *count* events of a type."""
        for _ in range(2000):
            if self.session in self.world.store.log.sessions:
                log = await self.world.log(self.session)
                if sum(event["type"] == type_ for event in log) >= count:
                    return log
            await self._turn_of_the_loop()
        raise AssertionError(f"no {count} {type_} in {await self.world.types(self.session)} after {self.points[-9:]}")

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(2000):
            if condition():
                return
            await self._turn_of_the_loop()
        raise AssertionError(f"it did not come to that after {self.points[-9:]}")

    async def _turn_of_the_loop(self) -> None:
        before = len(self.points)
        for _ in range(_SPINS):
            await asyncio.sleep(0)
        if len(self.points) == before:
            self.world.clock.advance(0.5)

    async def tell(self, story: Callable[[Reborn], Awaitable[None]]) -> None:
        """Live until *story* is over."""
        living = asyncio.create_task(self.live())
        self._ours.add(living)
        try:
            await story(self)
        finally:
            self._life.alive = False
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
            await self._bury()


def plain(log: Sequence[Event]) -> list[dict[str, Any]]:
    """Return a log without what differs from run to run: ids become their order of appearance, times go."""
    names: dict[str, str] = {}

    def name(event_id: str) -> str:
        return names.setdefault(event_id, f"#{len(names)}")

    def told(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: told(v, k) for k, v in value.items() if k not in ("processed_at", "active_seconds", "list_cost")}
        if isinstance(value, list):
            return [told(each, key) for each in value]
        return name(value) if isinstance(value, str) and value.startswith(("sevt_", "sthr_")) else value

    return [{"seq": event.seq, "hidden": told(event.hidden), **told(event.wire())} for event in log]
