"""Looking for what is due, in every process that may make sessions: the store decides who of them fires."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from agents.clock import Clock
from agents.deployments.records import DeploymentRecord, DeploymentRepository
from agents.deployments.runs import DeploymentRuns
from agents.deployments.settings import DeploymentSettings
from agents.errors import HecatonError
from agents.periodic import PeriodicTask

logger = logging.getLogger(__name__)

_AT_ONCE = 16
"""Runs that one process has under way; a thousand schedules that are due at midnight do not take it over."""
_REMOVED_AT_ONCE = 1000
"""Old runs that go in one transaction, after which it is looked for what is due."""
_TIDY_SECONDS = 3600.0
_PUT_OFF = timedelta(seconds=60)
"""How long what cannot be fired, by a fault, leaves the turn to others."""


class DeploymentScheduler:
    """Fires schedules, and goes on with runs that a process which died has left open.

    Runs go on beside the looking: a session that is slow to be made holds up no other deployment.
    """

    def __init__(
        self, deployments: DeploymentRepository, runs: DeploymentRuns, clock: Clock, settings: DeploymentSettings
    ) -> None:
        self._deployments = deployments
        self._runs = runs
        self._clock = clock
        self._on = settings.enabled
        self._kept = timedelta(days=settings.keep_days)
        self._tidied: float | None = None
        self._under_way: dict[str, asyncio.Task[object]] = {}
        failing = "schedules wait for the database"
        self._task = PeriodicTask("deployments", self.look, clock, every=settings.scan_seconds, failing=failing)

    def start(self) -> None:
        """Look again and again, in the background; needs a running event loop."""
        if self._on:
            self._task.start()

    async def stop(self) -> None:
        """End, also in the midst of runs; another process goes on with them."""
        await self._task.stop()
        for task in self._under_way.values():
            task.cancel()
        await self.finished()

    async def look(self) -> None:
        """Begin with what is due now, and with what others have left, as far as there is room; remove old runs.

        Raises Unavailable.
        """
        now = self._clock.now()
        # What is under way may still be among those that are due.
        for due in await self._deployments.due(now, 2 * _AT_ONCE):
            if self._room and due.id not in self._under_way:
                self._begin(due.id, self._fire(due))
        if self._room:
            for run in await self._deployments.take_open(now, self._runs.taken_until(now), self._room):
                self._begin(run.id, _guarded(run.deployment_id, partial(self._runs.resume, run)))
        await self._tidy(now)

    async def _tidy(self, now: datetime) -> None:
        if self._tidied is not None and self._clock.monotonic() - self._tidied < _TIDY_SECONDS:
            return
        if await self._deployments.remove_old_runs(now - self._kept, _REMOVED_AT_ONCE) < _REMOVED_AT_ONCE:
            self._tidied = self._clock.monotonic()

    async def finished(self) -> None:
        """Return when nothing is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    @property
    def _room(self) -> int:
        return _AT_ONCE - len(self._under_way)

    async def _fire(self, due: DeploymentRecord) -> None:
        if await _guarded(due.id, partial(self._runs.fire, due)):
            return
        later = self._clock.now() + _PUT_OFF

        def put_off(stored: DeploymentRecord) -> DeploymentRecord:
            return replace(stored, due_at=later) if stored.due_at == due.due_at else stored

        # It would be among the first that are due for ever, and others never.
        await _guarded(due.id, partial(self._deployments.change, due.id, put_off))

    def _begin(self, key: str, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work, name="deployment")
        self._under_way[key] = task
        task.add_done_callback(partial(self._ended, key))

    def _ended(self, key: str, task: asyncio.Task[object]) -> None:
        del self._under_way[key], task


async def _guarded(deployment_id: str, work: Callable[[], Awaitable[object]]) -> bool:
    """Do the work of one deployment; returns whether it went without a fault."""
    try:
        await work()
    except HecatonError as error:
        logger.warning("deployment %s: %s", deployment_id, error.message)
    except Exception:
        # The border of one deployment: a fault in it must not end the looking for all others.
        logger.exception("deployment %s: a run failed by a fault", deployment_id)
        return False
    return True
