"""Hands on two hosts that die when a test says so: the twin for tests of the ledger of effects."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from enum import Enum, auto

from agents.errors import Unavailable
from agents.hands.port import CallNotSent, CallRefused, HostLost, ToolCall, ToolResult, Workspace


class Moment(Enum):
    """Where a call can be when something dies."""

    PLACED = auto()
    """Its intent is committed; nothing has been sent."""
    ARRIVED = auto()
    """The host has it; it has had no effect."""
    DONE = auto()
    """It took effect; the host has not answered."""
    ANSWERED = auto()
    """The owner has the answer and has yet to commit it."""


class MortalHost:
    """One incarnation: remembers its calls, and is forgotten whole."""

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.runs: dict[str, asyncio.Task[ToolResult]] = {}
        self.died = asyncio.Event()
        self.leaving = False


class MortalHands:
    """The Hands port. Calls pause at the moment ``hold``, the first time one of them gets there, until ``go``."""

    def __init__(self) -> None:
        self.hosts = {name: MortalHost(f"{name}/1") for name in ("a", "b")}
        self.effects: Counter[str] = Counter()
        """How often each call took effect, anywhere."""
        self.ran_on: list[str] = []
        self.cancelled: dict[str, str] = {}
        self.hold: Moment | None = None
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.knows_places = True
        self.stale_answers = 0
        """How often a host that leaves is still named, because nobody has heard of it."""
        self.deadly: str | None = None
        """A tool that kills whatever host runs it."""

    # -- what a test does --------------------------------------------------------------------------

    async def pause(self, moment: Moment) -> None:
        if self.hold is moment:
            self.hold = None
            self.reached.set()
            await self.go.wait()

    def die(self, incarnation: str) -> None:
        """End that life of a host; the next one begins at once, and knows nothing."""
        name, _, number = incarnation.partition("/")
        host = self.hosts[name]
        assert host.incarnation == incarnation
        self.hosts[name] = MortalHost(f"{name}/{int(number) + 1}")
        for run in host.runs.values():
            run.cancel()
        host.died.set()

    def _host(self, incarnation: str) -> MortalHost | None:
        host = self.hosts.get(incarnation.partition("/")[0])
        return host if host is not None and host.incarnation == incarnation else None

    # -- the port ------------------------------------------------------------------------------------

    def place(self, workspace: Workspace) -> str | None:
        return self._choose(workspace) if self.knows_places else None

    async def locate(self, workspace: Workspace) -> str:
        host = self._choose(workspace)
        if host is None:
            raise Unavailable("no sandbox host is up")
        return host

    def _choose(self, workspace: Workspace) -> str | None:
        stale, self.stale_answers = self.stale_answers > 0, max(self.stale_answers - 1, 0)
        names = [name for name, host in self.hosts.items() if stale or not host.leaving]
        wanted = (workspace.host or "").partition("/")[0]
        chosen = wanted if wanted in names else next(iter(names), None)
        return None if chosen is None else self.hosts[chosen].incarnation

    async def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        del workspace
        assert host is not None, "a call goes out only under an intent"
        await self.pause(Moment.PLACED)
        there = self._host(host)
        if there is None:
            raise CallNotSent(f"{host} is gone")
        taken = [call for call in calls if not there.leaving or call.call_id in there.runs]
        for call in taken:
            if call.call_id not in there.runs:
                there.runs[call.call_id] = asyncio.create_task(self._run(there, call))
        runs = {there.runs[call.call_id] for call in taken}
        death = asyncio.create_task(there.died.wait())
        try:
            while runs:
                done, _ = await asyncio.wait({*runs, death}, return_when=asyncio.FIRST_COMPLETED)
                if death in done:
                    raise HostLost(f"{host} is gone")
                runs -= done
                for run in done:
                    yield run.result()
        finally:
            death.cancel()
        if len(taken) < len(calls):
            raise CallRefused(f"{host} is leaving")

    async def _run(self, host: MortalHost, call: ToolCall) -> ToolResult:
        await self.pause(Moment.ARRIVED)
        self.effects[call.call_id] += 1
        self.ran_on.append(host.incarnation)
        if call.name == self.deadly:
            self.die(host.incarnation)
        await self.pause(Moment.DONE)
        return ToolResult(call.call_id, [{"type": "text", "text": "ran"}], host=host.incarnation, version=1)

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        del session_id
        self.cancelled.update(calls)

    async def release(self, session_id: str, *, destroy: bool) -> None:
        del session_id, destroy
