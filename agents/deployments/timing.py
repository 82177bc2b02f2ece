"""Which occurrence of a schedule fires next: pure functions of a deployment and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from agents.deployments.records import DeploymentRecord
from agents.deployments.schedule import MOST_JITTER, CronSchedule

UPCOMING_RUNS = 5  # field text of the SDK


def schedule_of(body: Mapping[str, Any]) -> CronSchedule | None:
    """Return the schedule of a deployment's body."""
    given = body["schedule"]
    return None if given is None else CronSchedule(given["expression"], given["timezone"])


def scheduled_after(deployment: DeploymentRecord, moment: datetime) -> DeploymentRecord:
    """Return *deployment* waiting for its first occurrence later than *moment*, or for none."""
    schedule = schedule_of(deployment.body)
    following = schedule.after(moment) if schedule is not None and deployment.fires else None
    return _waiting(deployment, schedule, following)


def fired(deployment: DeploymentRecord, now: datetime, late: timedelta) -> tuple[datetime | None, DeploymentRecord]:
    """Return the occurrence that is to fire now, if any, and the deployment as it waits after that.

    It is the newest whose time has come, at most *late* ago. More than one has come when the platform was away; the
    older ones are not made up for.
    """
    schedule, occurrence = schedule_of(deployment.body), deployment.next_at
    if schedule is None or occurrence is None:
        return None, _waiting(deployment, None, None)
    begin = now - late - MOST_JITTER
    if occurrence < begin:
        occurrence = schedule.after(begin)
    found: datetime | None = None
    while occurrence is not None and (due := schedule.due(occurrence, deployment.id)) <= now:
        if due >= now - late:
            found = occurrence
        occurrence = schedule.after(occurrence)
    return found, _waiting(deployment, schedule, occurrence)


def upcoming(deployment: DeploymentRecord, now: datetime) -> list[datetime]:
    """Return the next occurrences, also while it is paused: what it would do; none once it is archived."""
    schedule = schedule_of(deployment.body)
    return [] if schedule is None or deployment.archived_at else schedule.upcoming(now, UPCOMING_RUNS)


def _waiting(
    deployment: DeploymentRecord, schedule: CronSchedule | None, following: datetime | None
) -> DeploymentRecord:
    if schedule is None or following is None:
        return replace(deployment, next_at=None, due_at=None)
    return replace(deployment, next_at=following, due_at=schedule.due(following, deployment.id))
