"""``/v1/memory_stores``: named collections of text that sessions' agents read and write (spec A.9)."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from anthropic.types.beta import (
    BetaManagedAgentsDeletedMemoryStore,
    BetaManagedAgentsMemoryStore,
    MemoryStoreCreateParams,
    MemoryStoreUpdateParams,
)
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.auth import Access
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import no_fields, parse, read_json
from agents.api.worker_gate import Worker
from agents.catalog import limits, metadata
from agents.clock import rfc3339
from agents.ids import new_memory_store_id
from agents.listing import Listing
from agents.memory import rules
from agents.memory.records import Author, MemoryStoreRecord


class MemoryStoreRoutes:
    """Create, retrieve, update, list, delete and archive."""

    def __init__(self, platform: Platform) -> None:
        self._memory = platform.store.memory
        self._clock = platform.clock

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/memory_stores", "memory stores", BetaManagedAgentsMemoryStore
        one = f"{every}/{{memory_store_id}}"
        listing = (*describe.created_at("gt", "gte", "lt", "lte"), describe.INCLUDE_ARCHIVED, *describe.page(100))
        create, update, gone = MemoryStoreCreateParams, MemoryStoreUpdateParams, BetaManagedAgentsDeletedMemoryStore
        return [
            Operation("POST", every, self.create, "createMemoryStore", tag, answer, body=create),
            Operation("GET", every, self.list, "listMemoryStores", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getMemoryStore", tag, answer),
            Operation("POST", one, self.update, "updateMemoryStore", tag, answer, body=update),
            Operation("DELETE", one, self.delete, "deleteMemoryStore", tag, gone),
            Operation("POST", f"{one}/archive", self.archive, "archiveMemoryStore", tag, answer),
        ]

    async def create(self, request: Request) -> Response:
        params = parse(MemoryStoreCreateParams, await read_json(request))
        now = self._clock.now()
        body = {
            "name": rules.checked_name(params["name"]),
            "description": _checked_description(params.get("description", "")),
            "metadata": metadata.checked(params.get("metadata", {})),
        }
        mine = request.state.workspace_id
        store = MemoryStoreRecord(new_memory_store_id(), body, now, now, workspace_id=mine)
        await self._memory.insert(store)
        return json_answer(_wire(store))

    async def retrieve(self, request: Request) -> Response:
        return json_answer(_wire(await self._memory.get(store_id_of(request))))

    async def update(self, request: Request) -> Response:
        params = parse(MemoryStoreUpdateParams, await read_json(request))

        def change(stored: MemoryStoreRecord) -> MemoryStoreRecord:
            rules.refuse_archived(stored)
            body = dict(stored.body)
            name, description = params.get("name"), params.get("description")
            if name is not None:
                body["name"] = rules.checked_name(name)
            if description is not None:
                body["description"] = _checked_description(description)
            if "metadata" in params:
                body["metadata"] = metadata.merged(body["metadata"], params["metadata"])
            return stored if body == stored.body else replace(stored, body=body, updated_at=self._clock.now())

        return json_answer(_wire(await self._memory.change(store_id_of(request), change)))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "memory_stores", default=20, most=100)
        archived, mine = query.flag("include_archived"), request.state.workspace_id
        listing = Listing(include_archived=archived, workspace_id=mine, **wanted.listing())
        page = wanted.page(await self._memory.list(listing))
        return json_answer({"data": [_wire(row) for row in page.rows], "next_page": page.next_page})

    async def delete(self, request: Request) -> Response:
        store_id = store_id_of(request)
        await self._memory.delete(store_id)
        return json_answer({"id": store_id, "type": "memory_store_deleted"})

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        return json_answer(_wire(await self._memory.archive(store_id_of(request), self._clock.now())))


def store_id_of(request: Request) -> str:
    """Return the store that a request's path names, which the guard of workspaces has let through."""
    return request.path_params["memory_store_id"]


def author_of(request: Request) -> Author | None:
    """Return who changes a memory: a session, by its worker, or an API key, which goes by its name if it is one of the
    settings; None where there are none."""
    worker = cast("Worker | None", request.state.worker)
    if worker is not None and worker.item is not None:
        return Author("session_actor", worker.item.session_id)
    access = cast("Access", request.state.access)
    key = access.key_id or access.principal
    return Author("api_actor", key) if key else None


def author_wire(author: Author | None) -> dict[str, str] | None:
    """Return who changed something as the API shows it."""
    if author is None:
        return None
    return {"type": author.kind, _ID_FIELDS[author.kind]: author.id}


_ID_FIELDS = {
    "api_actor": "api_key_id",
    "session_actor": "session_id",
    "service_account_actor": "service_account_id",
}


def _checked_description(description: str) -> str:
    limits.check_length("description", description, rules.DESCRIPTION_CHARS)
    return description


def _wire(store: MemoryStoreRecord) -> dict[str, object]:
    return {
        "id": store.id,
        "type": "memory_store",
        **store.body,
        "created_at": rfc3339(store.created_at),
        "updated_at": rfc3339(store.updated_at),
        "archived_at": rfc3339(store.archived_at) if store.archived_at else None,
    }
