"""The figures that any gateway replica tells of the whole platform: what was recorded, and what the store knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

from actors.fleet_client import ask_fleet
from agents.clock import Clock
from agents.errors import Unavailable
from agents.governance.hand_releases import HandReleases
from agents.sessions.events import SessionStatus
from agents.store.ports import SessionCensus, SessionRepository
from agents.telemetry import catalogue
from agents.telemetry.cluster_totals import Floor
from agents.telemetry.recorder import Recorded, Recorder

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ASK_SECONDS = 2.0
_REMEMBERED_SECONDS = 10.0
"""Counting a million sessions takes a tenth of a second: not for every scrape."""
_STUCK = timedelta(minutes=10)


class ClusterMetrics:
    """Gathers them for one gateway replica."""

    def __init__(self, sessions: SessionRepository, releases: HandReleases, clock: Clock) -> None:
        self._clock = clock
        self._told: Recorded = {}
        self._floor = Floor()
        self._census = _Remembered(lambda: sessions.census(clock.now() - _STUCK), clock)
        self._budgets = _Remembered(releases.budgets_left, clock)

    async def recorded(self) -> Recorded:
        """Return all figures; of what does not answer just now, those of before."""
        told, census, budgets = await asyncio.gather(self._totals(), self._census.value(), self._budgets.value())
        stored = Recorder()
        stored.collect(partial(_tell_stored, census, budgets or {}))
        return {**told, **stored.snapshot()}

    async def _totals(self) -> Recorded:
        try:
            self._told = self._floor.above(await ask_fleet("metrics", timeout=_ASK_SECONDS))
        except (Unavailable, AttributeError):  # it is being replaced, or of an earlier release
            logger.info("the fleet does not tell the figures: they are those of before")
        return self._told


def _tell_stored(census: SessionCensus | None, budgets: Mapping[str, float], recorder: Recorder) -> None:
    if census is not None:
        for status in SessionStatus:
            recorder.set(catalogue.SESSIONS, census.by_status.get(status.value, 0), status.value)
        recorder.set(catalogue.STUCK_SESSIONS, census.stuck)
    for hand, left in budgets.items():
        recorder.set(catalogue.HAND_BUDGET, left, hand)


class _Remembered(Generic[T]):
    """What is asked for once in a while, and not waited for when it does not come."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._known: T | None = None
        self._due = float("-inf")

    async def value(self) -> T | None:
        """Return what was told last; None while nothing ever was."""
        if self._clock.monotonic() >= self._due:
            self._due = self._clock.monotonic() + _REMEMBERED_SECONDS
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    self._known = await self._ask()
            except (Unavailable, TimeoutError):
                logger.info("the store does not tell the figures: they are those of before")
        return self._known
