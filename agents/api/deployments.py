"""``/v1/deployments`` and ``/v1/deployment_runs``: agents that start by themselves (spec A.11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from anthropic.types.beta import (
    BetaManagedAgentsDeployment,
    BetaManagedAgentsDeploymentRun,
    DeploymentCreateParams,
    DeploymentUpdateParams,
)
from starlette.requests import Request
from starlette.responses import Response

from agents.access.tenancy import absent
from agents.api import describe
from agents.api.answers import json_answer
from agents.api.client_events import checked_initial_events
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter
from agents.api.rubrics import Rubrics
from agents.api.vaults import checked_vault_ids
from agents.api.wire import no_fields, parse, read_json
from agents.brains.registry import registry_of
from agents.catalog import environment_config
from agents.catalog.agent_config import agent_snapshot
from agents.catalog.agent_config import check_not_archived as check_agent
from agents.catalog.multiagent import session_roster
from agents.catalog.resources import ResourceOwner, Resources
from agents.catalog.session_agent import reference
from agents.catalog.team import models_of
from agents.deployments.config import (
    EVENT_TYPES,
    changed_body,
    check_not_archived,
    deployment_wire,
    new_body,
    run_wire,
)
from agents.deployments.records import DeploymentListing, DeploymentRecord, RunListing, Status, Trigger
from agents.deployments.resources import DeploymentResources, Kept, without_tokens
from agents.deployments.runs import DeploymentRuns
from agents.deployments.timing import scheduled_after
from agents.errors import Conflict, InvalidRequest
from agents.files.references import FileReferences
from agents.ids import new_id
from agents.sessions.budget import Budgets
from agents.store.ports import AgentRecord
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys

_STATUSES: tuple[Status, ...] = ("active", "paused")
_TRIGGERS: tuple[Trigger, ...] = ("schedule", "manual")
_MANUAL = {"type": "manual"}
_UPDATE_ATTEMPTS = 5


def _one_of(name: str, values: tuple[str, ...], text: str) -> Parameter:
    return Parameter(name, {"type": "string", "enum": list(values)}, text)


class DeploymentRoutes:
    """Create, retrieve, update, list, archive, pause, unpause and run; list and retrieve runs."""

    def __init__(self, platform: Platform, resources: Resources, runs: DeploymentRuns) -> None:
        self._store = platform.store
        self._deployments = platform.store.deployments
        self._clock = platform.clock
        self._runs = runs
        self._files = FileReferences(self._store.files, platform.clock)
        self._budgets = Budgets(platform.prices, registry_of(platform.settings))
        self._rubrics = Rubrics(platform.files)
        self._resources = DeploymentResources(resources, Envelope(master_keys(platform.settings)))
        self._most = platform.settings.deployments.max_scheduled

    def operations(self) -> list[Operation]:
        """Return the operations of both resources."""
        every, tag, answer = "/v1/deployments", "deployments", BetaManagedAgentsDeployment
        one, runs, run = f"{every}/{{deployment_id}}", "/v1/deployment_runs", BetaManagedAgentsDeploymentRun
        listing = (
            describe.text("agent_id", "Only deployments of this agent."),
            _one_of("status", _STATUSES, "Only these; not together with include_archived."),
            *describe.created_at("gte", "lte"),
            describe.INCLUDE_ARCHIVED,
            *describe.page(100),
        )
        of_runs = (
            describe.text("deployment_id", "Only runs of this deployment."),
            Parameter("has_error", {"type": "boolean"}, "Only runs that failed, or only those that did not."),
            _one_of("trigger_type", _TRIGGERS, "Only runs that this has started."),
            *describe.created_at("gt", "gte", "lt", "lte"),
            *describe.page(1000),
        )
        create, update = DeploymentCreateParams, DeploymentUpdateParams
        return [
            Operation("POST", every, self.create, "createDeployment", tag, answer, body=create),
            Operation("GET", every, self.list, "listDeployments", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getDeployment", tag, answer),
            Operation("POST", one, self.update, "updateDeployment", tag, answer, body=update),
            Operation("POST", f"{one}/archive", self.archive, "archiveDeployment", tag, answer),
            Operation("POST", f"{one}/pause", self.pause, "pauseDeployment", tag, answer),
            Operation("POST", f"{one}/unpause", self.unpause, "unpauseDeployment", tag, answer),
            Operation("POST", f"{one}/run", self.run, "runDeployment", tag, run),
            Operation("GET", runs, self.list_runs, "listDeploymentRuns", tag, run, listing=True, parameters=of_runs),
            Operation("GET", f"{runs}/{{deployment_run_id}}", self.retrieve_run, "getDeploymentRun", tag, run),
        ]

    def _answer(self, deployment: DeploymentRecord) -> Response:
        return json_answer(deployment_wire(deployment, self._clock.now()))

    async def create(self, request: Request) -> Response:
        params = cast("Mapping[str, Any]", parse(DeploymentCreateParams, await read_json(request)))
        now, access = self._clock.now(), request.state.access
        agent = await self._agent(request, params["agent"])
        body = new_body(params, _reference(agent), now)
        await self._check(request, access.principal, body, params, agent)
        made = DeploymentRecord(new_id("depl"), access.principal, body, now, now, workspace_id=access.workspace_id)
        kept = await self._kept(made, params, now)
        made = replace(made, body={**body, "resources": kept or []})
        made = scheduled_after(made, now)
        await self._deployments.insert(made, most=self._most)
        return self._answer(made)

    async def retrieve(self, request: Request) -> Response:
        return self._answer(await self._deployments.get(_id(request)))

    async def update(self, request: Request) -> Response:
        params = cast("Mapping[str, Any]", parse(DeploymentUpdateParams, await read_json(request)))
        for attempt in range(_UPDATE_ATTEMPTS):
            try:
                return self._answer(await self._updated(request, params))
            except Conflict:
                if attempt == _UPDATE_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _updated(self, request: Request, params: Mapping[str, Any]) -> DeploymentRecord:
        """Raises Conflict when another change comes between what was checked and this one."""
        stored, now = await self._deployments.get(_id(request)), self._clock.now()
        check_not_archived(stored)
        agent = await self._agent(request, params["agent"]) if "agent" in params else None
        pinned = None if agent is None else _reference(agent)
        body = changed_body(stored.body, params, pinned, now)
        await self._check(request, stored.principal, body, params, agent)
        moved = body["environment_id"] != stored.body["environment_id"]
        resources = await self._kept(replace(stored, body=body), params, now, moved=moved)
        if resources is not None:
            body = {**body, "resources": resources}

        def change(current: DeploymentRecord) -> DeploymentRecord:
            check_not_archived(current)
            if current.body != stored.body:
                raise Conflict(f"deployment {stored.id} was changed at the same time")
            if body == current.body:
                return current
            changed = replace(current, body=body, updated_at=now)
            # An occurrence that waits for its jitter to pass is not lost by a change of something else.
            return changed if body["schedule"] == current.body["schedule"] else scheduled_after(changed, now)

        return await self._deployments.change(stored.id, change, most=self._most)

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "deployments", default=20, most=100)
        status, archived = query.choice("status", _STATUSES), query.flag("include_archived")
        if status is not None and archived:
            raise InvalidRequest("status: cannot be combined with include_archived")
        listing = DeploymentListing(
            include_archived=archived,
            agent_id=query.text("agent_id"),
            status=cast("Status | None", status),
            workspace_id=request.state.workspace_id,
            **wanted.listing(),
        )
        page, now = wanted.page(await self._deployments.list(listing)), self._clock.now()
        return json_answer({"data": [deployment_wire(row, now) for row in page.rows], "next_page": page.next_page})

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        now = self._clock.now()

        def change(stored: DeploymentRecord) -> DeploymentRecord:
            if stored.archived_at is not None:
                return stored
            body = {**stored.body, "resources": without_tokens(stored.body["resources"])}
            return scheduled_after(replace(stored, body=body, archived_at=now, updated_at=now), now)

        return self._answer(await self._deployments.change(_id(request), change))

    async def pause(self, request: Request) -> Response:
        no_fields(await read_json(request))
        return await self._pause(request, _MANUAL)

    async def unpause(self, request: Request) -> Response:
        no_fields(await read_json(request))
        return await self._pause(request, None)

    async def _pause(self, request: Request, reason: dict[str, Any] | None) -> Response:
        now = self._clock.now()

        def change(stored: DeploymentRecord) -> DeploymentRecord:
            check_not_archived(stored)
            if (stored.paused_reason is None) == (reason is None):
                return stored
            # What would have fired meanwhile is not made up for (spec A.11).
            return scheduled_after(replace(stored, paused_reason=reason, updated_at=now), now)

        return self._answer(await self._deployments.change(_id(request), change))

    async def run(self, request: Request) -> Response:
        no_fields(await read_json(request))
        deployment = await self._deployments.get(_id(request))
        check_not_archived(deployment)
        return json_answer(run_wire(await self._runs.run_now(deployment)))

    async def list_runs(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "deployment_runs", default=20, most=1000)
        failed = query.choice("has_error", ("true", "false"))
        listing = RunListing(
            include_archived=True,
            deployment_id=query.text("deployment_id"),
            has_error=None if failed is None else failed == "true",
            trigger=cast("Trigger | None", query.choice("trigger_type", _TRIGGERS)),
            workspace_id=request.state.workspace_id,
            **wanted.listing(),
        )
        page = wanted.page(await self._deployments.list_runs(listing))
        return json_answer({"data": [run_wire(row) for row in page.rows], "next_page": page.next_page})

    async def retrieve_run(self, request: Request) -> Response:
        return json_answer(run_wire(await self._deployments.get_run(request.path_params["deployment_run_id"])))

    async def _agent(self, request: Request, given: str | Mapping[str, Any]) -> AgentRecord:
        agent = await self._store.agents.get(*reference(given))
        if agent.workspace_id != request.state.workspace_id:
            raise absent("agent", agent.id)
        check_agent(agent)
        return agent

    async def _kept(
        self, deployment: DeploymentRecord, params: Mapping[str, Any], now: datetime, *, moved: bool = False
    ) -> list[Kept] | None:
        """Return what is to be kept of the resources; None when they stay. Raises as making a session does.

        *moved*: the deployment gets another environment.
        """
        if "resources" not in params and not (moved and deployment.body["resources"]):
            return None
        if "resources" in params:
            given = list(params["resources"] or ())
        else:
            # What can be mounted depends on the environment.
            given = await self._resources.given(deployment.id, deployment.body["resources"])
        if not given:
            return []
        environment = await self._store.environments.get(deployment.body["environment_id"])
        self_hosted = environment.body["config"].get("type") == "self_hosted"
        owner = ResourceOwner("", deployment.workspace_id, deployment.principal, self_hosted, now)
        return await self._resources.kept(deployment.id, given, owner)

    async def _check(
        self,
        request: Request,
        principal: str,
        body: Mapping[str, Any],
        params: Mapping[str, Any],
        agent: AgentRecord | None,
    ) -> None:
        """Raise for what a deployment of *principal* refers to and cannot have, of what *params* give."""
        if "initial_events" in params:
            events = checked_initial_events(body["initial_events"], EVENT_TYPES)
            await self._files.check("initial_events", events, request.state.workspace_id)
            # Read anew at each run: that they are there now is all that is checked.
            await self._rubrics.resolved(events, request.state.workspace_id, where="initial_events")
        if "environment_id" in params:
            environment = await self._store.environments.get(body["environment_id"])
            if environment.workspace_id != request.state.workspace_id:
                raise absent("environment", environment.id)
            environment_config.check_not_archived(environment)
        if "vault_ids" in params:
            # Sessions open them for whoever made the deployment, and whoever names them must have them, too.
            for whose in dict.fromkeys((request.state.access.principal, principal)):
                access = replace(request.state.access, principal=whose)
                await checked_vault_ids(self._store.vaults, body["vault_ids"], access)
        if body["budget"] is not None and ("budget" in params or agent is not None):
            pinned = body["agent"]
            runs = agent or await self._store.agents.get(pinned["id"], pinned["version"])
            self._budgets.check_models(models_of(await self._with_roster(runs)))

    async def _with_roster(self, agent: AgentRecord) -> Mapping[str, Any]:
        """Return what a session's agent is but for its skills."""
        snapshot = agent_snapshot(agent)
        return {**snapshot, "multiagent": await session_roster(self._store.agents, agent, snapshot, _no_skills)}


async def _no_skills(chosen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    del chosen
    return []


def _reference(agent: AgentRecord) -> dict[str, Any]:
    return {"type": "agent", "id": agent.id, "version": agent.version}


def _id(request: Request) -> str:
    return request.path_params["deployment_id"]
