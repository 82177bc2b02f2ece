"""``/-/keys``: API keys that are kept in the store, with scope and workspace (docs/security.md).

Ours; fields are named as in the vendor's Admin API where it has them. A revoked key stays in the list of all: it says
who had access when.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Literal, Required

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.access.keys import digest_of, hint_of, new_api_key
from agents.access.records import ApiKeyRecord
from agents.access.scopes import KeyScope
from agents.access.workspaces import DEFAULT_WORKSPACE, WORKSPACE
from agents.api import describe
from agents.api.answers import json_answer
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import parse, read_json
from agents.catalog import limits
from agents.clock import parse_rfc3339, rfc3339
from agents.errors import InvalidRequest, NotFound
from agents.ids import new_id
from agents.listing import Listing

_log = logging.getLogger(__name__)

ScopeName = Literal["admin", "developer", "environment", "read-only"]


class CreateApiKeyParams(TypedDict, total=False):
    """``workspace_id``: ``default`` when it is not said. Without ``expires_at`` it is good until it is revoked."""

    name: Required[str]
    scope: Required[ScopeName]
    workspace_id: str
    expires_at: str | None


class CreatedBy(TypedDict):
    """Who made a key: the name that its maker's requests are counted by."""

    id: str
    type: str


class ApiKey(TypedDict):
    """A key as it is shown after the first time; a revoked one is ``archived``."""

    id: str
    type: str
    name: str
    workspace_id: str
    scope: ScopeName
    status: Literal["active", "expired", "archived"]
    partial_key_hint: str
    created_by: CreatedBy
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class NewApiKey(ApiKey):
    """A key as it is shown once."""

    key: str


class ApiKeyRoutes:
    """Make, look at, list, revoke."""

    def __init__(self, platform: Platform) -> None:
        self._keys = platform.store.api_keys
        self._clock = platform.clock
        self._most = platform.settings.access.max_keys
        self._configured = bool(platform.settings.principals)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, body = "/-/keys", "keys", CreateApiKeyParams
        one, made, shown = f"{every}/{{api_key_id}}", NewApiKey, ApiKey
        listing = (
            describe.text("workspace_id", "Only keys of this workspace."),
            describe.INCLUDE_ARCHIVED,
            *describe.page(100),
        )
        return [
            Operation("POST", every, self.create, "createApiKey", tag, made, body=body, statuses=[409]),
            Operation("GET", every, self.list, "listApiKeys", tag, shown, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getApiKey", tag, shown),
            Operation("DELETE", one, self.revoke, "revokeApiKey", tag, shown),
        ]

    async def create(self, request: Request) -> Response:
        params = parse(CreateApiKeyParams, await read_json(request))
        name, workspace = params["name"], params.get("workspace_id", DEFAULT_WORKSPACE)
        limits.check_length("name", name, limits.NAME_CHARS, shortest=1)
        if not WORKSPACE.fullmatch(workspace):
            raise InvalidRequest("workspace_id: must be 1 to 63 of a-z, 0-9, _ and -, and begin with a letter or digit")
        now, scope = self._clock.now(), KeyScope(params["scope"])
        expires_at = _expiry(params.get("expires_at"), now)
        await self._refuse_lock_out(scope, expires_at)
        key = new_api_key(key_id := new_id("apikey"))
        record = ApiKeyRecord(
            id=key_id,
            name=name,
            workspace_id=workspace,
            scope=scope,
            digest=digest_of(key),
            hint=hint_of(key),
            created_by=_maker(request),
            created_at=now,
            expires_at=expires_at,
        )
        await self._keys.insert(record, most=self._most)
        _log.warning("API key %s: made, %s of workspace %s (by key %r)", key_id, scope, workspace, record.created_by)
        return json_answer({**_wire(record, now), "key": key})

    async def _refuse_lock_out(self, scope: KeyScope, expires_at: datetime | None) -> None:
        # With its first key a server that took any caller takes none without a key, for ever.
        # Asked anew: what the book remembers may be from before the first key.
        first = not self._configured and not await self._keys.exist()
        if first and (scope is not KeyScope.ADMIN or expires_at is not None):
            raise InvalidRequest(
                "scope: the first key of a server without api_key must be admin and without expires_at: from then on"
                " nobody gets in without a key"
            )

    async def retrieve(self, request: Request) -> Response:
        key_id: str = request.path_params["api_key_id"]
        found = await self._keys.find(key_id)
        if found is None:
            raise NotFound(f"API key {key_id} not found")
        return json_answer(_wire(found, self._clock.now()))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "api_keys", default=20, most=100, with_bounds=False)
        listing = Listing(
            include_archived=query.flag("include_archived"),
            workspace_id=query.text("workspace_id"),
            **wanted.listing(),
        )
        page, now = wanted.page(await self._keys.list(listing)), self._clock.now()
        return json_answer({"data": [_wire(key, now) for key in page.rows], "next_page": page.next_page})

    async def revoke(self, request: Request) -> Response:
        now = self._clock.now()
        gone = await self._keys.revoke(request.path_params["api_key_id"], now)
        _log.warning("API key %s: revoked (by key %r)", gone.id, _maker(request))
        return json_answer(_wire(gone, now))


def _maker(request: Request) -> str:
    """Name who asks: the id of a key of the store, else the name of one of the settings."""
    return request.state.access.key_id or request.state.principal


def _expiry(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_rfc3339(text)
    except (ValueError, OverflowError):
        raise InvalidRequest("expires_at: must be an RFC 3339 time such as 2027-11-21T00:00:00Z") from None
    if moment <= now:
        raise InvalidRequest("expires_at: must be in the future")
    return moment


def _wire(key: ApiKeyRecord, now: datetime) -> dict[str, Any]:
    status = "archived" if key.revoked_at is not None else "active" if key.is_good(now) else "expired"
    return {
        "id": key.id,
        "type": "api_key",
        "name": key.name,
        "workspace_id": key.workspace_id,
        "scope": key.scope.value,
        "status": status,
        "partial_key_hint": key.hint,
        "created_by": {"id": key.created_by, "type": "principal"},
        "created_at": rfc3339(key.created_at),
        "expires_at": None if key.expires_at is None else rfc3339(key.expires_at),
        "last_used_at": None if key.last_used_at is None else rfc3339(key.last_used_at),
        "revoked_at": None if key.revoked_at is None else rfc3339(key.revoked_at),
    }
