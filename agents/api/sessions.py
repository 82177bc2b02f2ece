"""``/v1/sessions``: one run of an agent in an environment (spec A.4)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from anthropic.types.beta import (
    BetaManagedAgentsDeletedSession,
    BetaManagedAgentsSession,
    SessionCreateParams,
    SessionUpdateParams,
)
from starlette.requests import Request
from starlette.responses import Response

from agents.access.records import Owned
from agents.access.tenancy import absent
from agents.api import describe
from agents.api.answers import json_answer
from agents.api.auth import Access
from agents.api.client_events import checked_initial_events
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.request_trace import sending
from agents.api.routes import Operation, WorkerAccess
from agents.api.rubrics import Rubrics
from agents.api.vaults import checked_vault_ids
from agents.api.wire import no_fields, parse, read_json
from agents.brains.registry import registry_of
from agents.catalog import environment_config, metadata
from agents.catalog.agent_config import check_not_archived
from agents.catalog.multiagent import KeptSkills, session_roster
from agents.catalog.resources import ResourceOwner, Resources
from agents.catalog.session_agent import reference, session_agent, updated_session_agent
from agents.catalog.team import check_skills_agree, models_of, skills_of
from agents.deployments.records import Reservation
from agents.errors import InvalidRequest, Overloaded, RateLimited
from agents.files.references import FileReferences
from agents.ids import SessionId, new_thread_id
from agents.sessions.budget import Budgets, checked_budget
from agents.sessions.events import SessionRecord
from agents.sessions.wire import LIST_COST_HEADER, list_cost_micro_usd, session_wire
from agents.skills.choosing import chosen_skills, session_skills, skill_mounts
from agents.standby.session_ids import SessionIds
from agents.store.ports import AgentRecord, EnvironmentRecord, SessionListing
from agents.telemetry.tracing import names

_log = logging.getLogger(__name__)


class SessionRoutes:
    """Create, retrieve, update, list, archive and delete."""

    def __init__(self, platform: Platform, resources: Resources) -> None:
        self._platform = platform
        self._resources = resources
        self._store = platform.store
        self._host = platform.sessions
        self._spans = platform.spans
        self._rubrics = Rubrics(platform.files)
        self._files = FileReferences(platform.store.files, platform.clock)
        self._brains = registry_of(platform.settings)
        self._budgets = Budgets(platform.prices, self._brains)
        standby = platform.standby
        self._ids = SessionIds(platform.settings.harness.partitions, None if standby is None else standby.share)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/sessions", "sessions", BetaManagedAgentsSession
        one = f"{every}/{{session_id}}"
        listing = (
            describe.text("agent_id", "Only sessions of this agent."),
            describe.AGENT_VERSION,
            describe.text("deployment_id", "Only sessions of this deployment."),
            describe.text("memory_store_id", "Only sessions with this memory store."),
            *describe.created_at("gt", "gte", "lt", "lte"),
            describe.choices("statuses", describe.STATUSES, describe.MAX_FILTER_VALUES, "Only these statuses."),
            describe.INCLUDE_ARCHIVED,
            describe.order("desc"),
            *describe.page(100),
        )
        create, update = SessionCreateParams, SessionUpdateParams
        return [
            Operation("POST", every, self.create, "createSession", tag, answer, body=create),
            Operation("GET", every, self.list, "listSessions", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getSession", tag, answer, workers=WorkerAccess.SESSION),
            Operation("POST", one, self.update, "updateSession", tag, answer, body=update, statuses=[409]),
            Operation(
                "DELETE", one, self.delete, "deleteSession", tag, BetaManagedAgentsDeletedSession, statuses=[409]
            ),
            Operation("POST", f"{one}/archive", self.archive, "archiveSession", tag, answer),
        ]

    def _answer(self, record: SessionRecord) -> Response:
        now, prices = self._platform.clock.now(), self._platform.prices
        exact = {LIST_COST_HEADER: str(list_cost_micro_usd(record, now, prices))}
        return json_answer(session_wire(record, now, prices), headers=exact)

    async def create(self, request: Request) -> Response:
        params = parse(SessionCreateParams, await read_json(request))
        events = checked_initial_events(cast("list[dict[str, Any]]", params.get("initial_events", [])))
        events = await self._rubrics.resolved(events, request.state.workspace_id, where="initial_events")
        await self._files.check("initial_events", events, request.state.workspace_id)
        record = await self.new_record(params, request.state.access)
        with sending(self._spans, request, names.CREATE_ROUTE, record.id, events):
            stored = await self.store(record, events)
        return self._answer(stored)

    def reserve(self, now: datetime) -> Reservation:
        """Decide which session is made next."""
        session_id, partition, side = self._ids.new()
        if side == "monolith":
            _log.info("the standby gets session %s", session_id)
        return Reservation(session_id, partition, side, now)

    async def new_record(
        self,
        params: SessionCreateParams,
        access: Access,
        reserved: Reservation | None = None,
        *,
        deployment_id: str | None = None,
    ) -> SessionRecord:
        """Return the row of a new session, of the one that is *reserved* where one is. Raises as creating does."""
        bag = metadata.checked(params.get("metadata", {}))
        given = cast("str | Mapping[str, Any]", params["agent"])
        agent = await self._store.agents.get(*reference(given))
        _check_own("agent", agent, access)
        check_not_archived(agent)
        snapshot = await self._snapshot(agent, given, access)
        if snapshot["model"] != agent.body["model"]:
            self._brains.check(snapshot["model"]["id"])
        snapshot["multiagent"] = await session_roster(self._store.agents, agent, snapshot, self._kept_skills(access))
        check_skills_agree(snapshot)
        budget = checked_budget(params["budget"]) if "budget" in params else None
        if budget is not None:
            self._budgets.check_models(models_of(snapshot))
        environment = await self._store.environments.get(params["environment_id"])
        _check_own("environment", environment, access)
        environment_config.check_not_archived(environment)
        vault_ids = await checked_vault_ids(self._store.vaults, list(params.get("vault_ids", ())), access)
        reserved = reserved or self.reserve(self._platform.clock.now())
        given_resources = cast("list[dict[str, Any]]", params.get("resources", []))
        self_hosted = environment.body["config"].get("type") == "self_hosted"
        owner = ResourceOwner(
            reserved.session_id, access.workspace_id, access.principal, self_hosted, reserved.created_at
        )
        skills = () if self_hosted else skill_mounts(skills_of(snapshot))
        resources = await self._resources.attach_all(given_resources, owner, skills)
        return SessionRecord(
            id=reserved.session_id,
            partition=reserved.partition,
            created_at=reserved.created_at,
            updated_at=reserved.created_at,
            agent=snapshot,
            agent_id=agent.id,
            agent_version=agent.version,
            environment_id=environment.id,
            environment=environment.body["config"],
            thread_id=new_thread_id(),
            title=params.get("title"),
            metadata=bag,
            vault_ids=vault_ids,
            budget=budget,
            principal=access.principal,
            topology=reserved.topology,
            workspace_id=access.workspace_id,
            resources=resources,
            deployment_id=deployment_id,
        )

    async def store(self, record: SessionRecord, events: Sequence[dict[str, Any]]) -> SessionRecord:
        """Create the session of a new record, or give up what is attached to it. Raises as its host does."""
        try:
            return await self._host.create(record, events)
        except (InvalidRequest, Overloaded, RateLimited):
            # Of other failures nobody knows whether it was created; what is left over is swept away.
            await self._resources.detach_all(record.resources)
            raise

    async def _snapshot(self, agent: AgentRecord, given: str | Mapping[str, Any], access: Access) -> dict[str, Any]:
        mine, chosen = access.workspace_id, None
        if not isinstance(given, str) and "skills" in given:
            chosen = await chosen_skills(given["skills"] or (), self._store.skills, mine, "agent.")
        snapshot = session_agent(agent, given, chosen)
        return {**snapshot, "skills": await self._kept_skills(access)(snapshot["skills"])}

    def _kept_skills(self, access: Access) -> KeptSkills:
        return lambda chosen: session_skills(chosen, self._store.skills, access.workspace_id)

    async def retrieve(self, request: Request) -> Response:
        return self._answer(await self._store.sessions.get(_session_id(request)))

    async def update(self, request: Request) -> Response:
        params = parse(SessionUpdateParams, await read_json(request))
        session_id = _session_id(request)
        if "vault_ids" in params:
            raise InvalidRequest("vault_ids: cannot be changed after a session was created")
        stored = await self._store.sessions.get(session_id)
        return self._answer(await self._host.update(session_id, _changes(stored, params)))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "sessions", default=20, most=100, order=query.order("desc"))
        listing = SessionListing(
            include_archived=query.flag("include_archived"),
            agent_id=query.text("agent_id"),
            agent_version=query.integer("agent_version"),
            deployment_id=query.text("deployment_id"),
            statuses=query.choices("statuses", describe.STATUSES, most=describe.MAX_FILTER_VALUES),
            memory_store_id=query.text("memory_store_id"),
            workspace_id=request.state.workspace_id,
            **wanted.listing(),
        )
        if listing.agent_version is not None and listing.agent_id is None:
            raise InvalidRequest("agent_version: needs agent_id beside it")
        page = wanted.page(await self._store.sessions.list(listing))
        now, prices = self._platform.clock.now(), self._platform.prices
        data = [session_wire(record, now, prices) for record in page.rows]
        return json_answer({"data": data, "next_page": page.next_page, "prev_page": page.prev_page})

    async def delete(self, request: Request) -> Response:
        session_id = _session_id(request)
        await self._host.delete(session_id)
        await self._store.files.delete_of_session(session_id, self._platform.clock.now())
        return json_answer({"id": session_id, "type": "session_deleted"})

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        return self._answer(await self._host.archive(_session_id(request)))


def _check_own(kind: Owned, found: AgentRecord | EnvironmentRecord, access: Access) -> None:
    if found.workspace_id != access.workspace_id:
        raise absent(kind, found.id)


def _session_id(request: Request) -> SessionId:
    return SessionId(request.path_params["session_id"])


def _changes(stored: SessionRecord, params: SessionUpdateParams) -> dict[str, Any]:
    """Return what the owner is to change: a metadata patch (null deletes), whole agent fields, the budget."""
    changes: dict[str, Any] = {}
    if "title" in params:
        changes["title"] = params["title"]
    if "budget" in params:
        changes["budget"] = None if params["budget"] is None else checked_budget(params["budget"])
    if "metadata" in params:
        patch = params["metadata"]
        metadata.merged(stored.metadata, patch)
        changes["metadata"] = dict.fromkeys(stored.metadata) if patch is None else patch
    if "agent" in params:
        change = cast("Mapping[str, Any]", params["agent"])
        updated = updated_session_agent(stored.agent, change)
        changes["agent"] = {name: updated[name] for name in ("tools", "mcp_servers") if name in change}
    return changes
