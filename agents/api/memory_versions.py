"""``/v1/memory_stores/{id}/memory_versions``: who changed which memory, when, and to what (spec A.9)."""

from __future__ import annotations

from typing import Any, get_args

from anthropic.types.beta.memory_stores import BetaManagedAgentsMemoryVersion
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.memories import MOST_WITH_CONTENT, is_full, view
from agents.api.memory_stores import author_of, author_wire, store_id_of
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter
from agents.api.wire import no_fields, read_json
from agents.clock import rfc3339
from agents.memory import records
from agents.memory.records import Author, AuthorKind, MemoryVersionRecord, VersionListing

_OPERATIONS: tuple[str, ...] = get_args(records.Operation)
_AUTHORS: dict[str, AuthorKind] = {
    "api_key_id": "api_actor",
    "session_id": "session_actor",
    "service_account_id": "service_account_actor",
}


class MemoryVersionRoutes:
    """Retrieve, list and redact."""

    def __init__(self, platform: Platform) -> None:
        self._memory = platform.store.memory
        self._clock = platform.clock

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every = "/v1/memory_stores/{memory_store_id}/memory_versions"
        one, tag, answer = f"{every}/{{memory_version_id}}", "memory versions", BetaManagedAgentsMemoryVersion
        listing = (
            *(describe.text(name, "Only versions that this one wrote.") for name in _AUTHORS),
            describe.text("memory_id", "Only versions of this memory."),
            Parameter("operation", {"type": "string", "enum": list(_OPERATIONS)}, "Only such changes."),
            *describe.created_at("gt", "gte", "lt", "lte"),
            view("basic"),
            *describe.page(100),
        )
        return [
            Operation("GET", every, self.list, "listMemoryVersions", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getMemoryVersion", tag, answer, parameters=(view("full"),)),
            Operation("POST", f"{one}/redact", self.redact, "redactMemoryVersion", tag, answer),
        ]

    async def retrieve(self, request: Request) -> Response:
        full = is_full(Query(request.query_params), "full")
        version = await self._memory.version(store_id_of(request), _version_id(request))
        return json_answer(_wire(version, full=full))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        full = is_full(query, "basic")
        most_now = MOST_WITH_CONTENT if full else None
        wanted = page_request(query, "memory_versions", default=20, most=100, never_more=most_now)
        named: list[tuple[AuthorKind, str | None]] = [(kind, query.text(name)) for name, kind in _AUTHORS.items()]
        listing = VersionListing(
            memory_id=query.text("memory_id"),
            operation=query.choice("operation", _OPERATIONS),
            authors=tuple(Author(kind, name) for kind, name in named if name is not None),
            with_content=full,
            **wanted.listing(),
        )
        page = wanted.page(await self._memory.versions(store_id_of(request), listing))
        return json_answer({"data": [_wire(row, full=full) for row in page.rows], "next_page": page.next_page})

    async def redact(self, request: Request) -> Response:
        no_fields(await read_json(request))
        store_id, version_id, now = store_id_of(request), _version_id(request), self._clock.now()
        return json_answer(_wire(await self._memory.redact(store_id, version_id, author_of(request), now), full=True))


def _wire(version: MemoryVersionRecord, *, full: bool) -> dict[str, Any]:
    text = version.text
    return {
        "id": version.id,
        "type": "memory_version",
        "memory_store_id": version.store_id,
        "memory_id": version.memory_id,
        "operation": version.operation,
        "path": version.path,
        "content": text.content if text is not None and full else None,
        "content_sha256": None if text is None else text.sha256,
        "content_size_bytes": None if text is None else text.size,
        "created_at": rfc3339(version.created_at),
        "created_by": author_wire(version.author),
        "redacted_at": rfc3339(version.redacted_at) if version.redacted_at else None,
        "redacted_by": author_wire(version.redacted_by),
    }


def _version_id(request: Request) -> str:
    return request.path_params["memory_version_id"]
