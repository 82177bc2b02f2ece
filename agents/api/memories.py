"""``/v1/memory_stores/{id}/memories``: the texts of a store, each at its path (spec A.9)."""

from __future__ import annotations

from typing import Any, cast

from anthropic.types.beta.memory_stores import (
    BetaManagedAgentsDeletedMemory,
    BetaManagedAgentsMemory,
    BetaManagedAgentsMemoryListItem,
    MemoryCreateParams,
    MemoryUpdateParams,
)
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.cursor import Cursor, decode, encode
from agents.api.memory_stores import author_of, store_id_of
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter, WorkerAccess
from agents.api.wire import parse, read_json
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.ids import new_memory_id, new_memory_version_id
from agents.memory import rules
from agents.memory.records import Change, MemoryEdit, MemoryListing, MemoryRecord

_KIND = "memories"
_VIEWS = ("basic", "full")
MOST_WITH_CONTENT = 20
"""Items of a page with contents, whatever the limit says (spec A.9)."""


def view(default: str) -> Parameter:
    """Describe whether an answer has contents."""
    return Parameter("view", {"type": "string", "enum": list(_VIEWS), "default": default}, "full: with contents.")


def is_full(query: Query, default: str) -> bool:
    """Whether an answer is to have contents. Raises InvalidRequest."""
    return (query.choice("view", _VIEWS) or default) == "full"


class MemoryRoutes:
    """Create, retrieve, update, list and delete."""

    def __init__(self, platform: Platform) -> None:
        self._memory = platform.store.memory
        self._clock = platform.clock

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/memory_stores/{memory_store_id}/memories", "memories", BetaManagedAgentsMemory
        one, item = f"{every}/{{memory_id}}", BetaManagedAgentsMemoryListItem
        listing = (
            describe.text("path_prefix", "Only memories below this directory, which ends with a slash."),
            Parameter("depth", {"type": "integer", "enum": [0, 1], "default": 0}, "1: direct children only."),
            view("basic"),
            *describe.page(100),
        )
        expected = (describe.text("expected_content_sha256", "Delete only a memory with this content."),)
        create, update, changed = MemoryCreateParams, MemoryUpdateParams, (view("basic"),)
        workers = WorkerAccess.MEMORY
        return [
            Operation(
                "POST", every, self.create, "createMemory", tag, answer,
                body=create, parameters=changed, statuses=[409], workers=workers,
            ),
            Operation(
                "GET", every, self.list, "listMemories", tag, item,
                listing=True, parameters=listing, workers=workers,
            ),
            Operation("GET", one, self.retrieve, "getMemory", tag, answer, parameters=(view("full"),), workers=workers),
            Operation(
                "POST", one, self.update, "updateMemory", tag, answer,
                body=update, parameters=changed, statuses=[409], workers=workers,
            ),
            Operation(
                "DELETE", one, self.delete, "deleteMemory", tag, BetaManagedAgentsDeletedMemory,
                parameters=expected, statuses=[409], workers=workers,
            ),
        ]  # fmt: skip

    async def create(self, request: Request) -> Response:
        params = parse(MemoryCreateParams, await read_json(request))
        full = is_full(Query(request.query_params), "basic")
        content = params["content"]
        if content is None:
            raise InvalidRequest('content: must be a string; "" makes an empty memory')
        text, path, change = rules.text_of(content), rules.checked_path(params["path"]), self._change(request)
        store_id, moment = store_id_of(request), change.moment
        memory = MemoryRecord(new_memory_id(), store_id, change.version_id, path, text, moment, moment)
        await self._memory.create_memory(memory, change)
        return json_answer(memory_wire(memory, full=full))

    async def retrieve(self, request: Request) -> Response:
        full = is_full(Query(request.query_params), "full")
        memory = await self._memory.memory(store_id_of(request), _memory_id(request))
        return json_answer(memory_wire(memory, full=full))

    async def update(self, request: Request) -> Response:
        params = parse(MemoryUpdateParams, await read_json(request))
        full = is_full(Query(request.query_params), "basic")
        edit = _edit(params)
        store_id, memory_id = store_id_of(request), _memory_id(request)
        memory = await self._memory.change_memory(store_id, memory_id, edit, self._change(request))
        return json_answer(memory_wire(memory, full=full))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        full, limit = is_full(query, "basic"), query.limit(20, 100)
        cursor = decode(query.text("page"), kind=_KIND, order="asc", shape=(str,))
        if cursor is not None and None in cursor.position:
            raise InvalidRequest("page: is not a cursor of this listing")
        listing = MemoryListing(
            prefix=rules.checked_prefix(query.text("path_prefix") or "/"),
            rolled_up=query.choice("depth", ("0", "1")) == "1",
            after=None if cursor is None else cast("str", cursor.position[0]),
            limit=min(limit, MOST_WITH_CONTENT) if full else limit,
            with_content=full,
        )
        found = await self._memory.memories(store_id_of(request), listing)
        data = [_item(entry, full=full) for entry in found[: listing.limit]]
        more = len(found) > listing.limit
        following = encode(Cursor(_KIND, "asc", False, (data[-1]["path"],))) if more else None
        return json_answer({"data": data, "next_page": following})

    async def delete(self, request: Request) -> Response:
        query, memory_id = Query(request.query_params), _memory_id(request)
        expected = query.text("expected_content_sha256")
        if expected is not None:
            rules.checked_sha256(expected, "expected_content_sha256")
        change = self._change(request)
        await self._memory.delete_memory(store_id_of(request), memory_id, change, expected_sha256=expected)
        return json_answer({"id": memory_id, "type": "memory_deleted"})

    def _change(self, request: Request) -> Change:
        return Change(new_memory_version_id(), author_of(request), self._clock.now())


def memory_wire(memory: MemoryRecord, *, full: bool) -> dict[str, Any]:
    """Return a memory as the API shows it, *full* with its content."""
    return {
        "id": memory.id,
        "type": "memory",
        "memory_store_id": memory.store_id,
        "memory_version_id": memory.version_id,
        "path": memory.path,
        "content": memory.text.content if full else None,
        "content_sha256": memory.text.sha256,
        "content_size_bytes": memory.text.size,
        "created_at": rfc3339(memory.created_at),
        "updated_at": rfc3339(memory.updated_at),
    }


def _item(entry: MemoryRecord | str, *, full: bool) -> dict[str, Any]:
    return {"type": "memory_prefix", "path": entry} if isinstance(entry, str) else memory_wire(entry, full=full)


def _edit(params: MemoryUpdateParams) -> MemoryEdit:
    path, content, precondition = params.get("path"), params.get("content"), params.get("precondition")
    if path is None and content is None:
        raise InvalidRequest("the body: needs content, path, or both")
    expected = None
    if precondition is not None:
        expected = precondition.get("content_sha256")
        if expected is None:
            raise InvalidRequest("precondition.content_sha256: required, but missing")
    return MemoryEdit(
        path=None if path is None else rules.checked_path(path),
        text=None if content is None else rules.text_of(content),
        expected_sha256=None if expected is None else rules.checked_sha256(expected, "precondition.content_sha256"),
    )


def _memory_id(request: Request) -> str:
    return request.path_params["memory_id"]
