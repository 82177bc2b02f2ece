"""``/v1/deployments`` and their runs (spec A.11) by the SDK; when schedules fire is in tests/unit/deployments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from anthropic.types.beta import BetaManagedAgentsDeployment

from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL

HELLO: Any = {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}
CRON: Any = {"type": "cron", "expression": "30 9 * * *", "timezone": "Europe/Vienna"}


@pytest.fixture
def deployment(client: Anthropic) -> BetaManagedAgentsDeployment:
    beta = client.beta
    agent = beta.agents.create(name="a", model=MODEL)
    place = beta.environments.create(name=f"for {agent.id}")
    return beta.deployments.create(
        name="d", agent=agent.id, environment_id=place.id, initial_events=[HELLO], schedule=CRON
    )


@requirement("deployments:life")
def test_a_deployment_is_made_changed_paused_and_archived(
    client: Anthropic, deployment: BetaManagedAgentsDeployment
) -> None:
    deployments = client.beta.deployments
    assert deployments.retrieve(deployment.id) == deployment
    changed = deployments.update(deployment.id, name="e", metadata={"a": "b"})
    assert (changed.name, changed.metadata, changed.schedule) == ("e", {"a": "b"}, deployment.schedule)
    paused = deployments.pause(deployment.id)
    assert paused.paused_reason is not None
    assert (paused.status, paused.paused_reason.type) == ("paused", "manual")
    assert [each.id for each in deployments.list(agent_id=deployment.agent.id, status="paused")] == [deployment.id]
    assert deployments.unpause(deployment.id).status == "active"
    archived = deployments.archive(deployment.id)
    assert archived.archived_at is not None
    assert list(deployments.list(agent_id=deployment.agent.id)) == []
    assert len(list(deployments.list(agent_id=deployment.agent.id, include_archived=True))) == 1
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        deployments.run(deployment.id)


@requirement("deployments:schedule")
def test_a_schedule_tells_when_it_fires_next(client: Anthropic, deployment: BetaManagedAgentsDeployment) -> None:
    schedule = deployment.schedule
    assert schedule is not None
    assert schedule.upcoming_runs_at is not None
    assert len(schedule.upcoming_runs_at) == 5
    assert schedule.upcoming_runs_at == sorted(schedule.upcoming_runs_at)
    assert schedule.upcoming_runs_at[0] > datetime.now(UTC)
    for fault in ({"expression": "@daily"}, {"expression": "0 9 L * *"}, {"timezone": "Mars/Base"}):
        refused: Any = {**CRON, **fault}
        with pytest.raises(anthropic.BadRequestError, match=rf"schedule\.{next(iter(fault))}"):
            client.beta.deployments.update(deployment.id, schedule=refused)


@requirement("deployments:runs")
def test_a_run_has_a_session_or_an_error(client: Anthropic, deployment: BetaManagedAgentsDeployment) -> None:
    beta = client.beta
    run = beta.deployments.run(deployment.id)
    assert run.session_id is not None
    assert (run.error, run.trigger_context.type, run.agent) == (None, "manual", deployment.agent)
    assert beta.sessions.retrieve(run.session_id).deployment_id == deployment.id
    assert [each.id for each in beta.sessions.list(deployment_id=deployment.id)] == [run.session_id]
    beta.environments.archive(deployment.environment_id)
    failed = beta.deployments.run(deployment.id)
    assert failed.error is not None
    assert (failed.session_id, failed.error.type) == (None, "environment_archived_error")
    listed = beta.deployment_runs.list
    assert [each.id for each in listed(deployment_id=deployment.id, limit=1)] == [failed.id, run.id]
    assert [each.id for each in listed(deployment_id=deployment.id, has_error=True)] == [failed.id]
    assert list(listed(deployment_id=deployment.id, trigger_type="schedule")) == []
    assert list(listed(deployment_id="depl_none")) == []
    assert beta.deployment_runs.retrieve(run.id) == run
    assert beta.deployments.retrieve(deployment.id).status == "active"


@requirement("deployments:resources")
def test_resources_are_mounted_in_each_session_until_they_are_gone(
    client: Anthropic, deployment: BetaManagedAgentsDeployment
) -> None:
    beta = client.beta
    file = beta.files.upload(file=("a.txt", b"hello"))
    given: Any = {"type": "file", "file_id": file.id, "mount_path": "/a.txt"}
    changed = beta.deployments.update(deployment.id, resources=[given])
    assert [each.to_dict() for each in changed.resources] == [given]
    run = beta.deployments.run(deployment.id)
    assert run.session_id is not None
    [mounted] = beta.sessions.resources.list(run.session_id)
    assert mounted.type == "file" and mounted.mount_path == "/mnt/session/uploads/a.txt"
    beta.files.delete(file.id)
    failed = beta.deployments.run(deployment.id)
    assert failed.error is not None
    assert (failed.session_id, failed.error.type) == (None, "file_not_found_error")
