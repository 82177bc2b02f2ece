"""``/v1/environments``: where an agent's tools run (spec A.2)."""

from __future__ import annotations

from dataclasses import replace

from anthropic.types.beta import (
    BetaEnvironment,
    BetaEnvironmentDeleteResponse,
    EnvironmentCreateParams,
    EnvironmentUpdateParams,
)
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import no_fields, parse, read_json
from agents.catalog.environment_config import (
    check_not_archived,
    checked_name,
    environment_body,
    environment_wire,
    updated_environment_body,
)
from agents.ids import new_environment_id
from agents.listing import Listing
from agents.store.ports import EnvironmentRecord


class EnvironmentRoutes:
    """Create, retrieve, update, list, archive and delete."""

    def __init__(self, platform: Platform) -> None:
        self._environments = platform.store.environments
        self._clock = platform.clock

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/environments", "environments", BetaEnvironment
        one = f"{every}/{{environment_id}}"
        listing = (describe.INCLUDE_ARCHIVED, *describe.page(100))
        create, update = EnvironmentCreateParams, EnvironmentUpdateParams
        return [
            Operation("POST", every, self.create, "createEnvironment", tag, answer, body=create, statuses=[409]),
            Operation("GET", every, self.list, "listEnvironments", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getEnvironment", tag, answer),
            Operation("POST", one, self.update, "updateEnvironment", tag, answer, body=update, statuses=[409]),
            Operation(
                "DELETE", one, self.delete, "deleteEnvironment", tag, BetaEnvironmentDeleteResponse, statuses=[409]
            ),
            Operation("POST", f"{one}/archive", self.archive, "archiveEnvironment", tag, answer),
        ]

    async def create(self, request: Request) -> Response:
        params = parse(EnvironmentCreateParams, await read_json(request))
        now = self._clock.now()
        name, body = checked_name(params["name"]), environment_body(params)
        mine = request.state.workspace_id
        environment = EnvironmentRecord(new_environment_id(), name, body, now, now, workspace_id=mine)
        await self._environments.insert(environment)
        return json_answer(environment_wire(environment))

    async def retrieve(self, request: Request) -> Response:
        return json_answer(environment_wire(await self._environments.get(request.path_params["environment_id"])))

    async def update(self, request: Request) -> Response:
        params = parse(EnvironmentUpdateParams, await read_json(request))
        stored = await self._environments.get(request.path_params["environment_id"])
        check_not_archived(stored)
        given_name = params.get("name")
        name = stored.name if given_name is None else checked_name(given_name)
        changed = replace(stored, name=name, body=updated_environment_body(stored.body, params))
        if changed != stored:
            changed = replace(changed, updated_at=self._clock.now())
            await self._environments.update(changed)
        return json_answer(environment_wire(changed))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "environments", default=20, most=100, with_bounds=False)
        archived, mine = query.flag("include_archived"), request.state.workspace_id
        listing = Listing(include_archived=archived, workspace_id=mine, **wanted.listing())
        page = wanted.page(await self._environments.list(listing))
        return json_answer({"data": [environment_wire(row) for row in page.rows], "next_page": page.next_page})

    async def delete(self, request: Request) -> Response:
        environment_id: str = request.path_params["environment_id"]
        await self._environments.delete(environment_id)
        return json_answer({"id": environment_id, "type": "environment_deleted"})

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        stored = await self._environments.get(request.path_params["environment_id"])
        if stored.archived_at is None:
            now = self._clock.now()
            stored = replace(stored, archived_at=now, updated_at=now)
            await self._environments.update(stored)
        return json_answer(environment_wire(stored))
