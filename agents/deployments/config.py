"""What a deployment may say, and how it and its runs look on the wire (spec A.11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agents.catalog import limits, metadata
from agents.clock import rfc3339
from agents.deployments.records import DeploymentRecord, RunRecord
from agents.deployments.resources import shown
from agents.deployments.schedule import checked_schedule
from agents.deployments.timing import upcoming
from agents.errors import InvalidRequest
from agents.sessions.budget import checked_budget

DESCRIPTION_CHARS = 2048  # ours: what it is for, not how it is done
VAULTS = 50  # spec A.11
RESOURCES = 500  # spec A.11

EVENT_TYPES = ("user.message", "user.define_outcome", "system.message")
"""What a deployment may begin a session with (spec A.11)."""
_STARTING = EVENT_TYPES[:2]
"""Of these one is needed: nothing else gives a session something to do."""

Body = dict[str, Any]


def new_body(params: Mapping[str, Any], agent: Mapping[str, Any], now: datetime) -> Body:
    """Return the body of a new deployment that runs *agent*. Raises InvalidRequest."""
    blank: Body = {
        "description": None,
        "resources": [],
        "vault_ids": [],
        "metadata": {},
        "budget": None,
        "schedule": None,
    }
    body = changed_body(blank, {**params, "metadata": None}, agent, now)
    return {**body, "metadata": metadata.checked(params.get("metadata") or {})}


def changed_body(
    stored: Mapping[str, Any],
    params: Mapping[str, Any],
    agent: Mapping[str, Any] | None,
    now: datetime,
) -> Body:
    """Return a body with a change applied: what is omitted stays; null clears what may be empty. Raises InvalidRequest.

    *agent* is the reference that the change names, resolved; None: it stays. Resources stay: what is kept of those that
    the change names is for the caller to put in.
    """
    body = dict(stored)
    if "name" in params:
        limits.check_length("name", params["name"], limits.NAME_CHARS, shortest=1)
        body["name"] = params["name"]
    if "description" in params:
        limits.check_length("description", params["description"] or "", DESCRIPTION_CHARS)
        body["description"] = params["description"] or None
    if agent is not None:
        body["agent"] = {"type": "agent", "id": agent["id"], "version": agent["version"]}
    if "environment_id" in params:
        body["environment_id"] = params["environment_id"]
    if "initial_events" in params:
        body["initial_events"] = _checked_start(params["initial_events"])
    limits.check_count("resources", list(params.get("resources") or ()), RESOURCES)
    if "vault_ids" in params:
        vault_ids = list(params["vault_ids"] or ())
        limits.check_count("vault_ids", vault_ids, VAULTS)
        body["vault_ids"] = vault_ids
    if "metadata" in params:
        body["metadata"] = metadata.merged(stored["metadata"], params["metadata"])
    if "budget" in params:
        body["budget"] = None if params["budget"] is None else checked_budget(params["budget"])
    if "schedule" in params:
        body["schedule"] = _checked_schedule(params["schedule"], now)
    return body


def _checked_start(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not events:
        raise InvalidRequest("initial_events: must have at least one event")
    if not any(event["type"] in _STARTING for event in events):
        raise InvalidRequest(
            f"initial_events: must have a {' or a '.join(_STARTING)}, which gives the session its work"
        )
    return [dict(event) for event in events]


def _checked_schedule(given: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    if given is None:
        return None
    schedule = checked_schedule(given["expression"], given["timezone"], now)
    return {"type": "cron", "expression": schedule.expression, "timezone": schedule.timezone}


def check_not_archived(deployment: DeploymentRecord) -> None:
    """Raise InvalidRequest (``deployment_archived``) when the deployment is archived."""
    if deployment.archived_at is not None:
        raise InvalidRequest(f"deployment {deployment.id} is archived", error_code="deployment_archived")


def deployment_wire(deployment: DeploymentRecord, now: datetime) -> dict[str, Any]:
    """Return the ``deployment`` resource; the key ``budget`` is absent without one (field text of the SDK)."""
    body: Body = {**deployment.body, "resources": shown(deployment.body["resources"])}
    budget = body.pop("budget")
    schedule = body["schedule"]
    if schedule is not None:
        body["schedule"] = {
            **schedule,
            "last_run_at": _time(deployment.last_run_at),
            "upcoming_runs_at": [rfc3339(moment) for moment in upcoming(deployment, now)],
        }
    return {
        "id": deployment.id,
        "type": "deployment",
        **body,
        **({} if budget is None else {"budget": budget}),
        "status": deployment.status,
        "paused_reason": deployment.paused_reason if deployment.status == "paused" else None,
        "created_at": rfc3339(deployment.created_at),
        "updated_at": rfc3339(deployment.updated_at),
        "archived_at": _time(deployment.archived_at),
    }


def run_wire(run: RunRecord) -> dict[str, Any]:
    """Return the ``deployment_run`` resource of a settled run."""
    trigger: dict[str, Any] = {"type": run.trigger}
    if run.scheduled_at is not None:
        trigger["scheduled_at"] = rfc3339(run.scheduled_at)
    return {
        "id": run.id,
        "type": "deployment_run",
        "deployment_id": run.deployment_id,
        "agent": run.agent,
        "trigger_context": trigger,
        "session_id": run.session_id,
        "error": run.error,
        "created_at": rfc3339(run.created_at),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
