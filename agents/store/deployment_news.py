"""What becomes of deployments and their runs, told in the transaction that it happens in: to webhooks, and the audit.

Every change that a client makes is audited by itself; the pause that a failed run ends in is made by nobody but us.
"""

from __future__ import annotations

from datetime import datetime

from agents.deployments.records import DeploymentRecord, RunRecord
from agents.deployments.resources import same_but_for_keys
from agents.governance.audit.entries import SYSTEM, AuditEntry
from agents.webhooks.announcing import Announcement

PAUSE = "pauseDeployment"
"""The name that the operation has when a client pauses."""


def deployment_created(deployment: DeploymentRecord) -> Announcement:
    """Say that there is a new deployment."""
    return _news("created", deployment, deployment.created_at)


def deployment_news(stored: DeploymentRecord, changed: DeploymentRecord, at: datetime) -> list[Announcement]:
    """Say what became of a deployment that was *stored* and is *changed* (when it fires next is no news)."""
    if stored.archived_at is None and changed.archived_at is not None:
        return [_news("archived", changed, at)]
    told: list[Announcement] = []
    if not same_but_for_keys(stored.body, changed.body):
        told.append(_news("updated", changed, at))
    if (stored.paused_reason is None) != (changed.paused_reason is None):
        told.append(_news("unpaused" if changed.paused_reason is None else "paused", changed, at))
    return told


def run_started(run: RunRecord) -> Announcement:
    """Say that a run has begun."""
    return Announcement("deployment_run.started", run.id, run.workspace_id, run.created_at)


def run_ended(run: RunRecord) -> Announcement:
    """Say that a settled run has made its session, or has not."""
    ended = "succeeded" if run.error is None else "failed"
    return Announcement(f"deployment_run.{ended}", run.id, run.workspace_id, run.created_at)


def pause_entry(stored: DeploymentRecord, changed: DeploymentRecord, run: RunRecord) -> AuditEntry | None:
    """Return the audit's entry of the pause that a settled run has ended in; None when it has paused nothing."""
    if stored.paused_reason is not None or changed.paused_reason is None or run.error is None:
        return None
    detail = {"run": run.id, "error": run.error["type"]}
    return AuditEntry(run.created_at, SYSTEM, PAUSE, stored.id, detail=detail)


def _news(what: str, deployment: DeploymentRecord, at: datetime) -> Announcement:
    return Announcement(f"deployment.{what}", deployment.id, deployment.workspace_id, at)
