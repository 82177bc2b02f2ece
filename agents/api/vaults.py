"""``/v1/vaults``: places for a user's credentials, which sessions name (spec A.8).

A vault is its maker's: to another API key of the settings, or another workspace, it is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anthropic.types.beta import (
    BetaManagedAgentsDeletedVault,
    BetaManagedAgentsVault,
    VaultCreateParams,
    VaultUpdateParams,
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
from agents.catalog import limits, metadata
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.ids import new_vault_id
from agents.listing import Listing
from agents.store.vaults import no_vault, refuse_archived
from agents.vaults.records import VaultRecord, VaultRepository

DISPLAY_NAME_CHARS = 255  # spec A.8
SESSION_VAULTS = 50  # spec A.11, of deployments


class VaultRoutes:
    """Create, retrieve, update, list, delete and archive."""

    def __init__(self, platform: Platform) -> None:
        self._vaults = platform.store.vaults
        self._clock = platform.clock

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/vaults", "vaults", BetaManagedAgentsVault
        one = f"{every}/{{vault_id}}"
        listing = (describe.INCLUDE_ARCHIVED, *describe.page(100))
        return [
            Operation("POST", every, self.create, "createVault", tag, answer, body=VaultCreateParams),
            Operation("GET", every, self.list, "listVaults", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getVault", tag, answer),
            Operation("POST", one, self.update, "updateVault", tag, answer, body=VaultUpdateParams),
            Operation("DELETE", one, self.delete, "deleteVault", tag, BetaManagedAgentsDeletedVault),
            Operation("POST", f"{one}/archive", self.archive, "archiveVault", tag, answer),
        ]

    async def create(self, request: Request) -> Response:
        params = parse(VaultCreateParams, await read_json(request))
        now = self._clock.now()
        name, bag = checked_name(params["display_name"]), metadata.checked(params.get("metadata", {}))
        body = {"display_name": name, "metadata": bag}
        mine = request.state.workspace_id
        vault = VaultRecord(new_vault_id(), request.state.principal, body, now, now, workspace_id=mine)
        await self._vaults.insert(vault)
        return json_answer(_wire(vault))

    async def retrieve(self, request: Request) -> Response:
        return json_answer(_wire(await vault_of(self._vaults, request)))

    async def update(self, request: Request) -> Response:
        params = parse(VaultUpdateParams, await read_json(request))
        found = await vault_of(self._vaults, request)

        def change(stored: VaultRecord) -> VaultRecord:
            refuse_archived(stored)
            body = dict(stored.body)
            given_name = params.get("display_name")
            if given_name is not None:
                body["display_name"] = checked_name(given_name)
            if "metadata" in params:
                body["metadata"] = metadata.merged(body["metadata"], params["metadata"])
            return stored if body == stored.body else replace(stored, body=body, updated_at=self._clock.now())

        return json_answer(_wire(await self._vaults.change(found.id, change)))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "vaults", default=20, most=100, with_bounds=False)
        archived, mine = query.flag("include_archived"), request.state.workspace_id
        listing = Listing(include_archived=archived, workspace_id=mine, **wanted.listing())
        page = wanted.page(await self._vaults.list(listing, request.state.principal))
        return json_answer({"data": [_wire(row) for row in page.rows], "next_page": page.next_page})

    async def delete(self, request: Request) -> Response:
        found = await vault_of(self._vaults, request)
        await self._vaults.delete(found.id)
        return json_answer({"id": found.id, "type": "vault_deleted"})

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        found = await vault_of(self._vaults, request)
        return json_answer(_wire(await self._vaults.archive(found.id, self._clock.now())))


async def vault_of(vaults: VaultRepository, request: Request) -> VaultRecord:
    """Return the vault that a request's path names. Raises NotFound, also for another caller's."""
    return await own_vault(vaults, request.path_params["vault_id"], request.state.access)


async def own_vault(vaults: VaultRepository, vault_id: str, access: Access) -> VaultRecord:
    """Return a vault. Raises NotFound, also for one that is not the caller's."""
    found = await vaults.get(vault_id)
    if found.workspace_id != access.workspace_id or not found.is_for(access.principal):
        raise no_vault(vault_id)
    return found


async def checked_vault_ids(vaults: VaultRepository, vault_ids: Sequence[str], access: Access) -> tuple[str, ...]:
    """Return the vaults of a new session. Raises NotFound for one that the caller has not, InvalidRequest."""
    limits.check_count("vault_ids", vault_ids, SESSION_VAULTS)
    for index, vault_id in enumerate(vault_ids):
        if vault_id in vault_ids[:index]:
            raise InvalidRequest(f"vault_ids[{index}]: {vault_id[:80]!r} is listed twice")
        refuse_archived(await own_vault(vaults, vault_id, access))
    return tuple(vault_ids)


def checked_name(name: str) -> str:
    """Return a display name; raises InvalidRequest when it is empty or too long."""
    limits.check_length("display_name", name, DISPLAY_NAME_CHARS, shortest=1)
    return name


def _wire(vault: VaultRecord) -> dict[str, object]:
    return {
        "id": vault.id,
        "type": "vault",
        **vault.body,
        "created_at": rfc3339(vault.created_at),
        "updated_at": rfc3339(vault.updated_at),
        "archived_at": rfc3339(vault.archived_at) if vault.archived_at else None,
    }
