"""Keeping the sandbox hosts: who lives, who is hung and must be killed, who joins and who leaves.

Invariant: an incarnation is called gone only after its process was replaced, or was killed here and given time
to die; one that is merely silent may still run its calls. Hosts leave by draining: no new calls, the running ones
end, sandboxes are put away, then the process ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from agents.clock import Clock
from agents.errors import HecatonError, NotFound
from agents.hands.incarnation import host_name
from agents.hands.placement import Address, HostPlace, HostState

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 2.0
_PING_SECONDS = 5.0
_HUNG_SECONDS = 30.0
"""A process that was stopped for ten seconds, or that swaps, comes back and has lost nothing."""
_START_SECONDS = 120.0
"""A first start on a machine that starts everything at once."""
_KILL_SECONDS = 15.0
"""Ray asks a process to end and kills it some five seconds later."""


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host's answer to a ping."""

    incarnation: str
    address: Address
    leaving: bool
    figures: dict[str, Any]


class HostProcess(Protocol):
    """A host as the fleet reaches it. Every call raises Unavailable when it does not answer in time."""

    async def ping(self, *, timeout: float) -> HostReport: ...

    async def drain(self, *, timeout: float) -> None:
        """Return when the host takes no new calls and none runs."""
        ...

    async def stop(self, *, timeout: float) -> None:
        """Put the sandboxes away and stop serving."""
        ...

    def kill(self) -> None:
        """Kill the process; another one starts in its place."""
        ...

    async def end(self) -> None:
        """Kill the process for good; returns when its name is free. Raises Unavailable."""
        ...


@dataclass(slots=True)
class _Host:
    process: HostProcess
    heard_at: float
    place: HostPlace = field(default_factory=lambda: HostPlace(HostState.UNKNOWN))
    figures: dict[str, Any] = field(default_factory=lambda: {})
    answered: bool = False
    killed_at: float | None = None
    leaving: bool = False


class HostFleet:
    """The hosts by number, and what is known of each."""

    def __init__(self, launch: Callable[[int], HostProcess], clock: Clock, *, drain_seconds: float) -> None:
        """*launch* finds the host with a number, or starts it. Running calls get *drain_seconds* before it leaves."""
        self._launch = launch
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._hosts: dict[int, _Host] = {}
        self._wanted = 0
        self._changed = asyncio.Condition()
        self._moving: dict[int, asyncio.Task[None]] = {}

    def adopt(self, numbers: Iterable[int], *, wanted: int) -> None:
        """Take over the hosts there are, and see that there are those below *wanted*."""
        self._wanted = wanted
        for number in sorted({*numbers, *range(wanted)}):
            self._add(number)

    def _add(self, number: int) -> None:
        self._hosts[number] = _Host(self._launch(number), self._clock.monotonic())

    # -- what is known ---------------------------------------------------------------------------

    def table(self) -> dict[str, HostPlace]:
        """Return where each host is."""
        return {host_name(number): host.place for number, host in self._hosts.items()}

    def figures(self) -> dict[str, dict[str, Any] | None]:
        """Return what each host said of itself last; None for one that does not answer."""
        return {
            host_name(number): host.figures if host.place.state is HostState.UP else None
            for number, host in self._hosts.items()
        }

    async def ready(self) -> list[str]:
        """Return the hosts' names once every one of them is up and none is leaving."""
        async with self._changed:
            await self._changed.wait_for(lambda: all(map(self._is_up, self._hosts)))
        return sorted(self.table())

    # -- watching --------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Ping the hosts for ever."""
        while True:
            try:
                await self.sweep()
            except Exception:
                # Actor-supervisor border: hosts that nobody watches any more would hang sessions without a trace.
                logger.exception("the sandbox hosts could not be looked after")
            await self._clock.sleep(_SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Ping every host once, and act on what is found."""
        await asyncio.gather(*(self._look_at(number, host) for number, host in list(self._hosts.items())))
        async with self._changed:
            self._changed.notify_all()

    async def _look_at(self, number: int, host: _Host) -> None:
        try:
            report = await host.process.ping(timeout=_PING_SECONDS)
        except HecatonError as error:
            self._silent(host_name(number), host, error)
            return
        if self._hosts.get(number) is not host:
            return  # it left, or was replaced, while it answered
        host.heard_at, host.answered, host.killed_at = self._clock.monotonic(), True, None
        host.figures = report.figures
        host.place = HostPlace(HostState.UP, report.incarnation, report.address, host.leaving or report.leaving)
        if report.leaving and number not in self._moving:
            # A fleet before this one had sent it away.
            self._move(number, host, again=number < self._wanted)

    def _silent(self, name: str, host: _Host, error: HecatonError) -> None:
        now = self._clock.monotonic()
        if host.killed_at is not None and now - host.killed_at >= _KILL_SECONDS:
            host.place = HostPlace(HostState.REPLACED, leaving=host.leaving)
        elif host.place.state is HostState.UP:
            place = host.place
            host.place = HostPlace(HostState.SILENT, place.incarnation, place.address, place.leaving)
        patience = _HUNG_SECONDS if host.answered else _START_SECONDS
        if now - host.heard_at >= patience:
            logger.error("%s has not answered for %g s and is killed: %s", name, now - host.heard_at, error)
            host.process.kill()
            host.heard_at = now
            if host.killed_at is None:
                host.killed_at = now

    # -- coming and going ------------------------------------------------------------------------

    def scale(self, count: int) -> list[str]:
        """See that there are *count* hosts; those that are too many leave. Returns the names there will be."""
        self._wanted = count
        for number in range(count):
            if number not in self._hosts:
                self._add(number)
        for number, host in list(self._hosts.items()):
            if number >= count and number not in self._moving:
                self._move(number, host, again=False)
        return [host_name(number) for number in range(count)]

    async def replace(self, name: str) -> None:
        """Let a host leave and start it anew. Raises NotFound, Unavailable."""
        number = next((number for number in self._hosts if host_name(number) == name), None)
        if number is None:
            raise NotFound(f"{name} is no sandbox host of this platform")
        if number not in self._moving:
            self._move(number, self._hosts[number], again=True)
        await asyncio.shield(self._moving[number])
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_up(number))

    def _is_up(self, number: int) -> bool:
        host = self._hosts.get(number)
        return host is not None and host.place.state is HostState.UP and not host.place.leaving

    def _move(self, number: int, host: _Host, *, again: bool) -> None:
        """Let a host leave, in the background; start it *again* after that."""
        host.leaving = True
        host.place = HostPlace(host.place.state, host.place.incarnation, host.place.address, leaving=True)
        task = asyncio.create_task(self._leave(number, host, again=again))
        self._moving[number] = task
        task.add_done_callback(partial(self._moved, number))

    def _moved(self, number: int, task: asyncio.Task[None]) -> None:
        del self._moving[number]
        if not task.cancelled() and (error := task.exception()) is not None:
            # It says at its next ping that it is leaving, and is then helped on.
            logger.error("%s did not leave: %s", host_name(number), error)

    async def _leave(self, number: int, host: _Host, *, again: bool) -> None:
        name = host_name(number)
        try:
            await host.process.drain(timeout=self._drain_seconds)
            await host.process.stop(timeout=self._drain_seconds)
        except HecatonError as error:
            logger.warning("%s does not leave by itself and is ended: %s", name, error)
        await host.process.end()
        del self._hosts[number]
        if again or number < self._wanted:
            self._add(number)
            self._hosts[number].place = HostPlace(HostState.REPLACED)

    async def stop(self) -> None:
        """Put away what the hosts have, and end them."""
        for task in self._moving.values():
            task.cancel()
        hosts = list(self._hosts.values())
        await asyncio.gather(
            *(host.process.stop(timeout=self._drain_seconds) for host in hosts), return_exceptions=True
        )
        await asyncio.gather(*(host.process.end() for host in hosts), return_exceptions=True)
