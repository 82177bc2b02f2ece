"""How deployments and their runs become rows, and rows become them: see ``codec`` for the rules."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from agents.deployments.records import DeploymentRecord, Reservation, RunRecord
from agents.errors import InvalidRequest, NotFound
from agents.store.codec import Row, RowView, decode, encode, micros, micros_or_none, moment_at, moment_or_none


def deployment_row(deployment: DeploymentRecord) -> Row:
    """Return the row of a deployment; ``scheduled`` tells which of them count for the limit."""
    return {
        "id": deployment.id,
        "workspace_id": deployment.workspace_id,
        "principal": deployment.principal,
        "agent_id": deployment.agent_id,
        "body": encode(deployment.body),
        "scheduled": int(is_scheduled(deployment)),
        "paused_reason": None if deployment.paused_reason is None else encode(deployment.paused_reason),
        "next_at": micros_or_none(deployment.next_at),
        "due_at": micros_or_none(deployment.due_at),
        "last_run_at": micros_or_none(deployment.last_run_at),
        "created_at": micros(deployment.created_at),
        "updated_at": micros(deployment.updated_at),
        "archived_at": micros_or_none(deployment.archived_at),
    }


def deployment_of(row: RowView) -> DeploymentRecord:
    """Return the deployment of a row."""
    reason = row["paused_reason"]
    return DeploymentRecord(
        id=row["id"],
        principal=row["principal"],
        body=decode(row["body"]),
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
        archived_at=moment_or_none(row["archived_at"]),
        paused_reason=None if reason is None else decode(reason),
        next_at=moment_or_none(row["next_at"]),
        due_at=moment_or_none(row["due_at"]),
        last_run_at=moment_or_none(row["last_run_at"]),
        workspace_id=row["workspace_id"],
    )


def run_row(run: RunRecord) -> Row:
    """Return the row of a run."""
    reserved = run.reservation
    return {
        "id": run.id,
        "workspace_id": run.workspace_id,
        "deployment_id": run.deployment_id,
        "trigger_type": run.trigger,
        "scheduled_at": micros_or_none(run.scheduled_at),
        "agent": encode(run.agent),
        "reservation": encode({**asdict(reserved), "created_at": micros(reserved.created_at)}),
        "session_id": run.session_id,
        "error": None if run.error is None else encode(run.error),
        "taken_until": micros_or_none(run.taken_until),
        "created_at": micros(run.created_at),
    }


def run_of(row: RowView) -> RunRecord:
    """Return the run of a row."""
    error: Any = row["error"]
    reserved: dict[str, Any] = decode(row["reservation"])
    return RunRecord(
        id=row["id"],
        deployment_id=row["deployment_id"],
        agent=decode(row["agent"]),
        trigger=row["trigger_type"],
        reservation=Reservation(
            reserved["session_id"], reserved["partition"], reserved["topology"], moment_at(reserved["created_at"])
        ),
        created_at=moment_at(row["created_at"]),
        scheduled_at=moment_or_none(row["scheduled_at"]),
        session_id=row["session_id"],
        error=None if error is None else decode(error),
        taken_until=moment_or_none(row["taken_until"]),
        workspace_id=row["workspace_id"],
    )


def is_scheduled(deployment: DeploymentRecord) -> bool:
    """Whether a deployment counts for the limit of those with a schedule, paused ones included."""
    return deployment.body["schedule"] is not None and deployment.archived_at is None


def kept_deployment(stored: DeploymentRecord, changed: DeploymentRecord) -> DeploymentRecord:
    """Return *changed* with what never changes."""
    return replace(
        changed,
        id=stored.id,
        principal=stored.principal,
        workspace_id=stored.workspace_id,
        created_at=stored.created_at,
    )


def as_seen(stored: DeploymentRecord, seen: DeploymentRecord) -> bool:
    """Whether what decides when a deployment fires is still as somebody has seen it."""
    return stored.next_at == seen.next_at and stored.due_at == seen.due_at and stored.fires


def check_schedules(there: int, most: int) -> None:
    """Raise InvalidRequest when there are *most* deployments with a schedule already."""
    if there >= most:
        raise InvalidRequest(f"schedule: {most} deployments have one already; archive one, or take its schedule away")


def no_deployment(deployment_id: str) -> NotFound:
    """Word that there is no such deployment."""
    return NotFound(f"deployment {deployment_id} not found")


def no_run(run_id: str) -> NotFound:
    """Word that there is no such run, or that it is not settled."""
    return NotFound(f"deployment_run {run_id} not found")
