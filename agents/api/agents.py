"""``/v1/agents``: versioned definitions of what thinks (spec A.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from anthropic.types.beta import AgentCreateParams, AgentUpdateParams, BetaManagedAgentsAgent
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.cursor import Cursor, decode, encode
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import no_fields, parse, read_json
from agents.brains.registry import registry_of
from agents.catalog.agent_config import agent_body, agent_wire, check_not_archived, updated_body
from agents.catalog.multiagent import saved_roster
from agents.catalog.team import advisor_model
from agents.errors import Conflict, InvalidRequest
from agents.ids import new_agent_id
from agents.listing import Listing
from agents.skills.choosing import chosen_skills
from agents.store.ports import AgentRecord

_UPDATE_ATTEMPTS = 5
"""An update without ``version`` is applied to whatever is newest; a lost race is simply run again."""


class AgentRoutes:
    """Create, retrieve, update, list, archive, and the list of versions."""

    def __init__(self, platform: Platform) -> None:
        self._agents = platform.store.agents
        self._skills = platform.store.skills
        self._clock = platform.clock
        self._brains = registry_of(platform.settings)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        one, tag, agent = "/v1/agents/{agent_id}", "agents", BetaManagedAgentsAgent
        pages = describe.page(100)
        listing = (*describe.created_at("gte", "lte"), describe.INCLUDE_ARCHIVED, *pages)
        return [
            Operation("POST", "/v1/agents", self.create, "createAgent", tag, agent, body=AgentCreateParams),
            Operation("GET", "/v1/agents", self.list, "listAgents", tag, agent, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getAgent", tag, agent, parameters=[describe.VERSION]),
            Operation("POST", one, self.update, "updateAgent", tag, agent, body=AgentUpdateParams, statuses=[409]),
            Operation("POST", f"{one}/archive", self.archive, "archiveAgent", tag, agent),
            Operation(
                "GET", f"{one}/versions", self.versions, "listAgentVersions", tag, agent, listing=True, parameters=pages
            ),
        ]

    async def create(self, request: Request) -> Response:
        params, mine = parse(AgentCreateParams, await read_json(request)), request.state.workspace_id
        body, agent_id = agent_body(params, await self._skills_of(params, mine)), new_agent_id()
        given = params.get("multiagent")
        body["multiagent"] = await saved_roster(self._agents, given, own=(agent_id, 1), workspace_id=mine)
        self._brains.check(body["model"]["id"])
        self._check_advisor(body)
        now = self._clock.now()
        agent = AgentRecord(agent_id, 1, body, now, now, workspace_id=mine)
        await self._agents.insert(agent)
        return json_answer(agent_wire(agent))

    async def retrieve(self, request: Request) -> Response:
        version = Query(request.query_params).integer("version")
        return json_answer(agent_wire(await self._agents.get(request.path_params["agent_id"], version)))

    async def update(self, request: Request) -> Response:
        params = parse(AgentUpdateParams, await read_json(request))
        agent_id: str = request.path_params["agent_id"]
        pinned = params.get("version")
        if pinned is not None and pinned < 1:
            raise InvalidRequest(f"version: must be at least 1, not {pinned}")
        skills = await self._skills_of(params, request.state.workspace_id) if "skills" in params else None
        for attempt in range(_UPDATE_ATTEMPTS):
            stored = await self._agents.get(agent_id)
            changed = await self._changed(stored, params, skills)
            if changed is None:
                return json_answer(agent_wire(stored))
            try:
                await self._agents.update(changed, expected_version=stored.version)
            except Conflict:
                if pinned is not None or attempt == _UPDATE_ATTEMPTS - 1:
                    raise
            else:
                return json_answer(agent_wire(changed))
        raise AssertionError("the last attempt returns or raises")

    async def _skills_of(self, params: AgentCreateParams | AgentUpdateParams, mine: str) -> list[dict[str, Any]]:
        return await chosen_skills(list(params.get("skills") or ()), self._skills, mine)

    async def _changed(
        self, stored: AgentRecord, params: AgentUpdateParams, skills: Sequence[Mapping[str, Any]] | None
    ) -> AgentRecord | None:
        check_not_archived(stored)
        pinned = params.get("version", stored.version)
        if pinned != stored.version:
            raise Conflict(f"version: agent {stored.id} is at version {stored.version}, not {pinned}")
        body = updated_body(stored.body, params, skills)
        # One whose model has vanished can still be changed in all else.
        if "model" in params:
            self._brains.check(body["model"]["id"])
        if "multiagent" in params:
            given, mine = params["multiagent"], stored.workspace_id
            # What names the agent itself as it is now is no change; saved anew it names the version that it becomes.
            for version in (stored.version, stored.version + 1):
                own = stored.id, version
                body["multiagent"] = await saved_roster(self._agents, given, own=own, workspace_id=mine)
                if body == stored.body:
                    break
            self._check_advisor(body)
        if body == stored.body:
            return None
        return replace(stored, version=stored.version + 1, body=body, updated_at=self._clock.now())

    def _check_advisor(self, body: Mapping[str, Any]) -> None:
        if (model := advisor_model(body)) is not None:
            self._brains.check(model)

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "agents", default=20, most=100)
        archived, mine = query.flag("include_archived"), request.state.workspace_id
        found = await self._agents.list(Listing(include_archived=archived, workspace_id=mine, **wanted.listing()))
        page = wanted.page(found)
        return json_answer({"data": [agent_wire(agent) for agent in page.rows], "next_page": page.next_page})

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        return json_answer(agent_wire(await self._agents.archive(request.path_params["agent_id"], self._clock.now())))

    async def versions(self, request: Request) -> Response:
        query, agent_id = Query(request.query_params), request.path_params["agent_id"]
        limit = query.limit(20, 100)
        kind = f"versions:{agent_id}"
        cursor = decode(query.text("page"), kind=kind, order="desc", shape=(int,))
        below = cast("int | None", cursor.position[0]) if cursor else None
        found = await self._agents.versions(agent_id, below=below, limit=limit)
        rows = found[:limit]
        more = encode(Cursor(kind, "desc", False, (rows[-1].version,))) if len(found) > limit else None
        return json_answer({"data": [agent_wire(agent) for agent in rows], "next_page": more})
