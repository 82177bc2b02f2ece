"""``/v1/environments/{id}/keys``: what worker hosts show to serve an environment (docs/workers.md).

The vendor makes such keys in its console only; these routes are ours. They take an API key, never a worker's own.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import parse, read_json
from agents.catalog import limits
from agents.catalog.environment_config import check_not_archived
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.ids import new_id
from agents.listing import Listing
from agents.workers.credentials import digest_of, new_environment_key
from agents.workers.records import EnvironmentKeyRecord


class CreateKeyParams(TypedDict, total=False):
    """A key may have a name, for people."""

    name: str


class EnvironmentKey(TypedDict):
    """A key as it is shown after the first time."""

    id: str
    type: str
    environment_id: str
    name: str
    created_at: str
    revoked_at: str | None


class NewEnvironmentKey(EnvironmentKey):
    """A key as it is shown once."""

    key: str


class RevokedKey(TypedDict):
    """What a revocation is answered with."""

    id: str
    type: str


class EnvironmentKeyRoutes:
    """Make, list, revoke."""

    def __init__(self, platform: Platform) -> None:
        self._environments = platform.store.environments
        self._keys = platform.store.environment_keys
        self._most = platform.settings.workers.max_keys
        self._clock = platform.clock

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, body = "/v1/environments/{environment_id}/keys", "environments", CreateKeyParams
        one, made, shown = f"{every}/{{key_id}}", NewEnvironmentKey, EnvironmentKey
        page = describe.page(100)
        return [
            Operation("POST", every, self.create, "createEnvironmentKey", tag, made, body=body, statuses=[409]),
            Operation("GET", every, self.list, "listEnvironmentKeys", tag, shown, listing=True, parameters=page),
            Operation("DELETE", one, self.revoke, "revokeEnvironmentKey", tag, RevokedKey),
        ]

    async def create(self, request: Request) -> Response:
        params = parse(CreateKeyParams, await read_json(request))
        name = params.get("name", "")
        limits.check_length("name", name, limits.NAME_CHARS, shortest=0)
        environment = await self._environments.get(request.path_params["environment_id"])
        check_not_archived(environment)
        if environment.body["config"]["type"] != "self_hosted":
            raise InvalidRequest(f"environment {environment.id} is not self_hosted: nothing but this server serves it")
        key = new_environment_key()
        record = EnvironmentKeyRecord(
            new_id("envkey"), environment.id, name, digest_of(key), request.state.principal, self._clock.now()
        )
        await self._keys.insert(record, most=self._most)
        return json_answer({**_key_wire(record), "key": key})

    async def list(self, request: Request) -> Response:
        environment = await self._environments.get(request.path_params["environment_id"])
        wanted = page_request(Query(request.query_params), "keys", default=20, most=100, with_bounds=False)
        page = wanted.page(await self._keys.list(environment.id, Listing(**wanted.listing())))
        return json_answer({"data": [_key_wire(key) for key in page.rows], "next_page": page.next_page})

    async def revoke(self, request: Request) -> Response:
        key = await self._keys.revoke(request.path_params["environment_id"], request.path_params["key_id"])
        return json_answer({"id": key.id, "type": "environment_key_revoked"})


def _key_wire(key: EnvironmentKeyRecord) -> dict[str, Any]:
    return {
        "id": key.id,
        "type": "environment_key",
        "environment_id": key.environment_id,
        "name": key.name,
        "created_at": rfc3339(key.created_at),
        "revoked_at": None if key.revoked_at is None else rfc3339(key.revoked_at),
    }
