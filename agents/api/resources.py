"""``/v1/sessions/{session_id}/resources``: what is mounted for a session (spec A.7)."""

from __future__ import annotations

from typing import Any

from anthropic.types.beta.sessions import (
    BetaManagedAgentsDeleteSessionResource,
    BetaManagedAgentsFileResource,
    BetaManagedAgentsSessionResource,
    ResourceAddParams,
    ResourceUpdateParams,
)
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.cursor import Cursor, decode, encode
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import parse, read_json
from agents.catalog.resources import ResourceOwner, Resources, find, resource_wire
from agents.errors import Conflict, InvalidRequest, NotFound
from agents.ids import SessionId
from agents.sessions.events import SessionRecord

_MOST_PER_PAGE = 1000  # spec A.7
_KIND = "resources"


class ResourceRoutes:
    """Add, list, retrieve, update and remove."""

    def __init__(self, platform: Platform, resources: Resources) -> None:
        self._sessions = platform.store.sessions
        self._host = platform.sessions
        self._clock = platform.clock
        self._resources = resources

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/sessions/{session_id}/resources", "resources", BetaManagedAgentsSessionResource
        one = f"{every}/{{resource_id}}"
        add, gone = BetaManagedAgentsFileResource, BetaManagedAgentsDeleteSessionResource
        listing = (describe.limit(_MOST_PER_PAGE, _MOST_PER_PAGE), describe.PAGE)
        return [
            Operation("POST", every, self.add, "addResource", tag, add, body=ResourceAddParams, statuses=[409]),
            Operation(
                "GET", every, self.list, "listResources", tag, answer,
                listing=True, parameters=listing
            ),
            Operation("GET", one, self.retrieve, "getResource", tag, answer),
            Operation("POST", one, self.update, "updateResource", tag, answer, body=ResourceUpdateParams),
            Operation("DELETE", one, self.delete, "deleteResource", tag, gone, statuses=[409]),
        ]  # fmt: skip

    async def add(self, request: Request) -> Response:
        given = parse(ResourceAddParams, await read_json(request))
        record = await self._record(request)
        made = await self._resources.attach(given, self._owner(record), record.resources)
        try:
            await self._host.update(SessionId(record.id), {"resources": {"add": made}})
        except (Conflict, InvalidRequest, NotFound):
            # Of other failures nobody knows whether it was added; what is left over goes with the session.
            await self._resources.detach_all([made])
            raise
        return json_answer(resource_wire(made))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        limit = query.limit(_MOST_PER_PAGE, _MOST_PER_PAGE)
        cursor = decode(query.text("page"), kind=_KIND, order="asc", shape=(str,))
        stored = list((await self._record(request)).resources)
        if cursor is not None:
            places = [index for index, each in enumerate(stored) if each["id"] == cursor.position[0]]
            if not places:
                raise InvalidRequest("page: the resource that it stands at is no longer there")
            stored = stored[places[0] + 1 :]
        more = len(stored) > limit
        data = [resource_wire(each) for each in stored[:limit]]
        after = encode(Cursor(_KIND, "asc", False, (stored[limit - 1]["id"],))) if more else None
        return json_answer({"data": data, "next_page": after})

    async def retrieve(self, request: Request) -> Response:
        record = await self._record(request)
        return json_answer(resource_wire(find(record.resources, request.path_params["resource_id"])))

    async def update(self, request: Request) -> Response:
        change: dict[str, Any] = dict(parse(ResourceUpdateParams, await read_json(request)))
        record = await self._record(request)
        stored = find(record.resources, request.path_params["resource_id"])
        changed = await self._resources.changed(stored, change, self._owner(record))
        await self._host.update(SessionId(record.id), {"resources": {"replace": changed}})
        return json_answer(resource_wire(changed))

    async def delete(self, request: Request) -> Response:
        record = await self._record(request)
        stored = find(record.resources, request.path_params["resource_id"])
        self._resources.check_removable(stored)
        await self._host.update(SessionId(record.id), {"resources": {"remove": stored["id"]}})
        await self._resources.detach_all([stored])
        return json_answer({"id": stored["id"], "type": "session_resource_deleted"})

    async def _record(self, request: Request) -> SessionRecord:
        return await self._sessions.get(SessionId(request.path_params["session_id"]))

    def _owner(self, record: SessionRecord) -> ResourceOwner:
        return ResourceOwner(record.id, record.workspace_id, record.principal, record.self_hosted, self._clock.now())
