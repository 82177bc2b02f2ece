"""Making the session of a run, once: from the intent that is stored first to the end that clients see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from agents.clock import Clock
from agents.deployments.failures import RunFailed, failure_of
from agents.deployments.records import DeploymentRecord, DeploymentRepository, Reservation, RunRecord, Trigger
from agents.deployments.settings import DeploymentSettings
from agents.deployments.timing import fired
from agents.errors import HecatonError, NotFound, Unavailable
from agents.ids import SessionId, new_id
from agents.sessions.events import SessionRecord
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder

logger = logging.getLogger(__name__)

_ATTEMPT_SECONDS = 60.0
"""Longer than a gateway waits for a session's owner; then the attempt counts as unavailable."""
_SETTLING_SECONDS = 60.0
"""More than the store may take to store the end of an attempt; then others may take the run."""


class SessionMaking(Protocol):
    """What makes sessions, by the rules that hold for all."""

    def reserve(self, now: datetime) -> Reservation:
        """Decide which session a run is to make."""
        ...

    async def create(self, deployment: DeploymentRecord, reservation: Reservation) -> SessionRecord:
        """Make the session that is reserved, and start it; again is answered with the one that is there.

        Raises RunFailed, and what checking and storing a session raises.
        """
        ...

    async def find(self, session_id: SessionId) -> SessionRecord:
        """Raises NotFound, Unavailable."""
        ...


class DeploymentRuns:
    """Runs deployments: what is due, what somebody asks for, and what others have left unfinished."""

    def __init__(
        self,
        deployments: DeploymentRepository,
        making: SessionMaking,
        clock: Clock,
        settings: DeploymentSettings,
        recorder: Recorder,
    ) -> None:
        self._deployments = deployments
        self._making = making
        self._clock = clock
        self._late = timedelta(seconds=settings.late_seconds)
        self._recorder = recorder

    async def run_now(self, deployment: DeploymentRecord) -> RunRecord:
        """Run a deployment because somebody asks for it; returns the settled run.

        Raises Unavailable: then it is not known whether there is a session; the run tells it later.
        """
        run = self._new_run(deployment, "manual", None)
        await self._deployments.begin(run)
        settled = await self._finish(deployment, run)
        if settled is None:
            raise Unavailable(f"run {run.id} of deployment {deployment.id} did not end in time; list its runs later")
        return settled

    async def fire(self, deployment: DeploymentRecord) -> RunRecord | None:
        """Run what is due of a deployment, if nobody else does; None when there was nothing, or it is not settled yet.

        Raises Unavailable.
        """
        now = self._clock.now()
        occurrence, _ = fired(deployment, now, self._late)
        run = None if occurrence is None else self._new_run(deployment, "schedule", occurrence)
        if run is None:
            logger.warning("deployment %s: what was due at %s is left out", deployment.id, deployment.next_at)
        mine = await self._deployments.fire(deployment, lambda stored: fired(stored, now, self._late)[1], run)
        if run is None or not mine:
            return None
        if deployment.due_at is not None:
            self._recorder.observe(catalogue.DEPLOYMENT_LATENESS, max(0.0, (now - deployment.due_at).total_seconds()))
        return await self._finish(deployment, run)

    async def resume(self, run: RunRecord) -> RunRecord | None:
        """Go on with a run that whoever began it has left open. Raises Unavailable."""
        try:
            await self._making.find(SessionId(run.reservation.session_id))
        except NotFound:
            now = self._clock.now()
            # Who asked was told that it failed, and has asked again since, or does not want it any more.
            if run.trigger == "manual" or run.reservation.created_at < now - self._late:
                return await self._settle(run, _lost("the platform could not make the session in time"))
            deployment = await self._deployments.get(run.deployment_id)
            if not deployment.fires:
                return await self._settle(run, _lost("paused or archived before the platform made the session"))
            return await self._finish(replace(deployment, body={**deployment.body, "agent": run.agent}), run)
        return await self._settle(run, None)

    def taken_until(self, now: datetime) -> datetime:
        """Return until when a run that is taken now is one's own."""
        return now + timedelta(seconds=_ATTEMPT_SECONDS + _SETTLING_SECONDS)

    def _new_run(self, deployment: DeploymentRecord, trigger: Trigger, scheduled_at: datetime | None) -> RunRecord:
        now = self._clock.now()
        return RunRecord(
            id=new_id("drun"),
            deployment_id=deployment.id,
            agent=deployment.body["agent"],
            trigger=trigger,
            reservation=self._making.reserve(now),
            created_at=now,
            scheduled_at=scheduled_at,
            taken_until=self.taken_until(now),
            workspace_id=deployment.workspace_id,
        )

    async def _finish(self, deployment: DeploymentRecord, run: RunRecord) -> RunRecord | None:
        """Make the session of an open run; None when the platform does not answer, and the run stays open."""
        failure: RunFailed | None = None
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                await self._making.create(deployment, run.reservation)
        except RunFailed as failed:
            failure = failed
        except (Unavailable, TimeoutError) as error:
            logger.warning("run %s of deployment %s is not settled: %r", run.id, deployment.id, error)
            return None
        except HecatonError as error:
            failure = failure_of(error)
        return await self._settle(run, failure, deployment.body)

    async def _settle(
        self, run: RunRecord, failure: RunFailed | None, tried: Mapping[str, Any] | None = None
    ) -> RunRecord | None:
        """Store the end of a run; *tried* is the body of the deployment that failed."""
        settled = replace(
            run,
            created_at=self._clock.now(),
            session_id=run.reservation.session_id if failure is None else None,
            error=None if failure is None else failure.wire(),
            taken_until=None,
        )
        if not await self._deployments.settle(settled, _after(run, failure, tried)):
            return None
        self._recorder.count(catalogue.DEPLOYMENT_RUNS, run.trigger, "ok" if failure is None else "error")
        if failure is not None:
            logger.warning("run %s of deployment %s: %s: %s", run.id, run.deployment_id, failure.type, failure.message)
        return settled


def _lost(why: str) -> RunFailed:
    return RunFailed("unknown_error", why, pauses=False)


def _after(
    run: RunRecord, failure: RunFailed | None, tried: Mapping[str, Any] | None
) -> Callable[[DeploymentRecord], DeploymentRecord]:
    """Return what a settled run changes of its deployment: only schedules tell of their last run, or are paused."""
    began = run.reservation.created_at

    def change(stored: DeploymentRecord) -> DeploymentRecord:
        if run.trigger == "manual":
            return stored
        stored = replace(stored, last_run_at=max(began, stored.last_run_at or began))
        # What was changed meanwhile may do better.
        if failure is None or not failure.pauses or not stored.fires or stored.body != tried:
            return stored
        return replace(stored, paused_reason=failure.paused_reason(), next_at=None, due_at=None)

    return change
