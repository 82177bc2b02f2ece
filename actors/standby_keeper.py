"""The fleet's part in the standby: it alone decides where new sessions go (docs/adr/0021).

It judges once a second, by what harnesses report and by who is there. How the breaker stands is a note in the cluster,
so the fleet may die; what was counted is counted anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from actors.announcing import Announced
from actors.cluster_notes import get_note, put_note
from agents.clock import Clock
from agents.config import StandbySettings
from agents.hands.placement import HostState, HostTable
from agents.standby.breaker import Forced, Health, Mode, Switch, forced, judged
from agents.standby.health import PathReport
from agents.standby.port import StandbyReport
from agents.standby.watch import PathWatch

logger = logging.getLogger(__name__)

_NOTE = "standby-switch"
_LOOK_SECONDS = 1.0
_SETTLE_SECONDS = 10.0
"""A fleet that has just started has not heard of all replicas yet: until then none is taken for gone."""


def forget_switch() -> None:
    """Let the next platform on this cluster begin with the parts. Blocks."""
    put_note(_NOTE, None)


class StandbyKeeper:
    """Keeps the breaker of one platform."""

    def __init__(
        self, bounds: StandbySettings, clock: Clock, *, hosts: Callable[[], HostTable], announced: Announced
    ) -> None:
        """*hosts* returns the hosts that the fleet keeps, *announced* knows the monolith's replicas."""
        self._bounds = bounds
        self._clock = clock
        self._hosts = hosts
        self._announced = announced
        self._watch = PathWatch(bounds, clock)
        self._switch = Switch()
        self._changing = asyncio.Lock()
        self._settled = clock.monotonic() + _SETTLE_SECONDS

    async def start(self) -> None:
        """Read how an earlier fleet has left the breaker."""
        if (note := await asyncio.to_thread(get_note, _NOTE)) is not None:
            self._switch = Switch(**{**note, "mode": Mode(note["mode"])})

    async def watch(self) -> None:
        """Judge for ever."""
        while True:
            try:
                await self.look()
            except Exception:
                # Actor-supervisor border: a breaker that nobody keeps any more would stay as it is without a trace.
                logger.exception("the decoupled path could not be judged")
            await self._clock.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Judge once."""
        async with self._changing:
            await self._become(judged(self._switch, self._bounds, self._health(), self._watch.now()))

    async def force(self, mode: Forced | None) -> StandbyReport:
        """See Standby.force."""
        async with self._changing:
            await self._become(forced(self._switch, mode, self._bounds, self._watch.now()))
        return self.report()

    def take(self, harness: str, report: PathReport) -> None:
        """Take a harness's report."""
        self._watch.report(harness, report)

    def report(self) -> StandbyReport:
        """See Standby.report."""
        share = self._switch.share(self._bounds.trial_share)
        return StandbyReport(self._switch, self._health(), self._announced.replicas(), share)

    def _health(self) -> Health:
        host = any(place.state is HostState.UP for place in self._hosts().values())
        standby = bool(self._announced.replicas()) or self._clock.monotonic() < self._settled
        return self._watch.health(self._switch.since, host=host, standby=standby)

    async def _become(self, switch: Switch) -> None:
        if switch is self._switch:
            return
        note: dict[str, Any] = asdict(switch)
        await asyncio.to_thread(put_note, _NOTE, note)
        before, self._switch = self._switch, switch
        logger.warning("new sessions: %s instead of %s: %s", switch.mode.value, before.mode.value, switch.reason)
