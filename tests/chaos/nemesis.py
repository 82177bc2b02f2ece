"""Carries out the schedule: kills, stops and removes what lives at that moment, and notes what it did."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil

from tests.chaos.owners import moved, owned_by
from tests.chaos.parts import Part
from tests.chaos.record import Action
from tests.chaos.schedule import STOP_SECONDS, Step
from tests.chaos.site import Site

_TARGET_SECONDS = 15.0
"""How long to wait for a target: the last action may have hit the only one."""
_LOOK_SECONDS = 0.5
_EDGE_SECONDS = 20.0
_NODE_AWAY_SECONDS = 5.0
_DATABASE_AWAY_SECONDS = 2.0
PARTS = {
    "harness": "harness",
    "sandbox host": "sandbox host",
    "brain": "brain",
    "hand": "hand",
    "worker": "worker",
    "gateway": "gateway",
    "fleet": "fleet",
    "serve controller": "serve controller",
    "haproxy": "haproxy",
    "haproxy manager": "haproxy manager",
    "serve proxy": "serve proxy",
    "database backend": "postgresql backend",
}
"""The kind of process that the last words of an action mean."""


class Nemesis:
    """One run's course of misfortune. ``actions`` grows as it goes; *say* hears of each."""

    def __init__(
        self, site: Site, steps: Sequence[Step], say: Callable[[str], None], reachable: Callable[[], bool]
    ) -> None:
        """*reachable* tells whether anybody answers at the server's address now."""
        self.actions: list[Action] = []
        self._reachable = reachable
        self._site = site
        self._steps = steps
        self._say = say
        self._started = time.time()
        self._stopped: set[int] = set()
        self._rolling = False
        self._undoing: set[asyncio.Task[None]] = set()
        self._node_lock = asyncio.Lock()

    async def run(self) -> None:
        """Carry out all steps; everything stopped or removed is back when this returns."""
        self._started = time.time()
        try:
            for number, step in enumerate(self._steps, 1):
                await asyncio.sleep(step.delay)
                await self._wait_reachable()
                action = await self._act(step)
                self.actions.append(action)
                what = f"skipped: {action.skipped}" if action.skipped else action.target
                self._say(f"{action.at - self._started:7.1f} s  {number:3d}  {action.kind}: {what}")
        finally:
            await self._heal()

    async def _wait_reachable(self) -> None:
        """Wait a while if clients cannot get in: what dies then is not missed by anybody, and proves little."""
        end = time.monotonic() + _EDGE_SECONDS
        while not self._reachable() and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)

    async def _heal(self) -> None:
        while self._undoing:
            await asyncio.wait(self._undoing)

    def _later(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._undoing.add(task)
        task.add_done_callback(self._undone)

    def _undone(self, task: asyncio.Task[None]) -> None:
        self._undoing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._say(f"an action could not be undone: {error!r}")

    async def _act(self, step: Step) -> Action:
        match step.kind.split(" ", 1):
            case ["roll", part]:
                return self._roll(step, part)
            case [_, "node" | "raylet"]:
                return await self._hit_node(step)
            case ["restart", "database"]:
                return await self._restart_database(step)
            case [verb, kind]:
                return await self._hit_process(step, verb, PARTS[kind])
        raise AssertionError(step.kind)

    # -- processes -------------------------------------------------------------------------------

    async def _target(self, kind: str, draw: float) -> Part | None:
        end = time.monotonic() + _TARGET_SECONDS
        while time.monotonic() < end:
            parts = await asyncio.to_thread(self._site.parts)
            found = [part for part in parts if part.kind == kind and part.pid not in self._stopped]
            if found:
                return found[int(draw * len(found))]
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    async def _hit_process(self, step: Step, verb: str, kind: str) -> Action:
        part = await self._target(kind, step.draw)
        if part is None:
            return Action(step.kind, "", time.time(), skipped=f"no {kind} lived for {_TARGET_SECONDS:g} s")
        owned = await owned_by(self._site, part.name) if kind == "harness" else None
        action = Action(step.kind, part.name, time.time(), pid=part.pid, owned=list(owned) if owned else None)
        try:
            part.process.send_signal(signal.SIGKILL if verb == "kill" else signal.SIGSTOP)
        except psutil.NoSuchProcess:
            action.skipped = "it had just ended"
            return action
        self._watch(action, owned)
        if verb == "stop":
            self._stopped.add(part.pid)
            self._later(self._go_on(part, action))
        return action

    def _watch(self, action: Action, owned: Mapping[int, tuple[int, int]] | None) -> None:
        async def watch() -> None:
            action.moved = await moved(self._site, owned or {})

        if owned:
            self._later(watch())

    async def _go_on(self, part: Part, action: Action) -> None:
        await asyncio.sleep(STOP_SECONDS)
        with contextlib.suppress(psutil.NoSuchProcess):
            part.process.send_signal(signal.SIGCONT)
        self._stopped.discard(part.pid)
        action.until = time.time()

    # -- upgrades ------------------------------------------------------------------------------

    def _roll(self, step: Step, part: str) -> Action:
        """Begin an upgrade, which takes its time; one may be under way."""
        action = Action(step.kind, part, time.time())
        if self._rolling:
            action.skipped = "another upgrade was under way"
            return action
        self._rolling = True
        self._later(self._finish_roll(part, action))
        return action

    async def _finish_roll(self, part: str, action: Action) -> None:
        try:
            action.status = await asyncio.to_thread(self._site.roll, part)
            action.until = time.time()
        finally:
            self._rolling = False

    # -- nodes -----------------------------------------------------------------------------------

    async def _hit_node(self, step: Step) -> Action:
        await self._node_lock.acquire()  # one node away at a time, or nothing would be left to go on with
        try:
            nodes = sorted(name for name in self._site.raylets if name != "head")
            node = nodes[int(step.draw * len(nodes))]
            pid = self._site.raylets[node]
            owned = await self._owned_on(node)
            action = Action(step.kind, node, time.time(), pid=pid, owned=list(owned) or None)
            if step.kind == "lose node":
                for process in await asyncio.to_thread(self._site.processes_of, node):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            elif step.kind == "kill raylet":
                psutil.Process(pid).kill()
            graceful = step.kind == "remove node"
            await asyncio.to_thread(self._site.remove_node, node, graceful=graceful)
        except BaseException:
            self._node_lock.release()
            raise
        self._watch(action, owned)
        self._later(self._bring_back(node, action))
        return action

    async def _owned_on(self, node: str) -> dict[int, tuple[int, int]]:
        """Return the partitions of all harnesses on a node, with their epochs."""
        below = {process.pid for process in await asyncio.to_thread(self._site.processes_of, node)}
        parts = await asyncio.to_thread(self._site.parts)
        owned: dict[int, tuple[int, int]] = {}
        for part in parts:
            if part.kind == "harness" and part.pid in below:
                owned |= await owned_by(self._site, part.name) or {}
        return owned

    async def _bring_back(self, node: str, action: Action) -> None:
        try:
            await asyncio.sleep(_NODE_AWAY_SECONDS)
            await asyncio.to_thread(self._site.add_node, node)
            action.until = time.time()
        finally:
            self._node_lock.release()

    # -- the database ----------------------------------------------------------------------------

    async def _restart_database(self, step: Step) -> Action:
        server = self._site.postgres
        assert server is not None
        action = Action(step.kind, "postgresql", time.time())
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(step.draw * _DATABASE_AWAY_SECONDS)
        await asyncio.to_thread(server.start)
        action.until = time.time()
        return action
