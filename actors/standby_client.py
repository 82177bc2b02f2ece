"""The standby as gateways and harnesses reach it: through the fleet, which decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from actors.fleet_client import ask_fleet
from agents.errors import Unavailable
from agents.standby.breaker import Forced
from agents.standby.health import PathCounter
from agents.standby.port import StandbyReport
from agents.standby.watch import REPORT_SECONDS

logger = logging.getLogger(__name__)

_ASK_SECONDS = 5.0
_REPORT_SECONDS = 2.0
"""Readiness waits for it."""
_LOOK_SECONDS = 1.0


class StandbyClient:
    """Implements Standby for one gateway: it asks once a second, and goes by the last answer meanwhile."""

    def __init__(self) -> None:
        self._share = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ask, and go on asking."""
        await self._look()
        self._looking = asyncio.create_task(self._keep_looking())

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        try:
            await self.report()
        except Unavailable as error:
            logger.warning("new sessions go where they went: %s", error.message)

    def share(self) -> float:
        """See Standby.share."""
        return self._share

    async def report(self) -> StandbyReport:
        """See Standby.report."""
        return self._learn(await ask_fleet("standby", timeout=_REPORT_SECONDS))

    async def force(self, mode: Forced | None) -> StandbyReport:
        """See Standby.force."""
        return self._learn(await ask_fleet("force_topology", mode, timeout=_ASK_SECONDS))

    def _learn(self, report: StandbyReport) -> StandbyReport:
        self._share = report.share
        return report

    async def close(self) -> None:
        """Stop asking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)


async def report_path(harness: str, counter: PathCounter, lacking: Callable[[], Sequence[str]]) -> None:
    """Tell the fleet for ever what *counter* has counted, and which brains requests are *lacking*."""
    while True:
        report = counter.take(lacking())
        try:
            await ask_fleet("report_path", harness, report, timeout=_ASK_SECONDS)
        except Unavailable as error:
            counter.give_back(report)
            logger.warning("the fleet does not hear how the brains and hands are: %s", error.message)
        await asyncio.sleep(REPORT_SECONDS)
