"""``/v1/vaults/{vault_id}/credentials``: secrets go in here, and never come out (spec A.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from anthropic.types.beta.vaults import (
    BetaManagedAgentsCredential,
    BetaManagedAgentsCredentialValidation,
    BetaManagedAgentsDeletedCredential,
    CredentialCreateParams,
    CredentialUpdateParams,
)
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.vaults import DISPLAY_NAME_CHARS, checked_name, vault_of
from agents.api.wire import no_fields, parse, read_json
from agents.catalog import limits, metadata
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.ids import new_credential_id
from agents.listing import Listing
from agents.store.vaults import refuse_archived
from agents.vaults.auth_config import NewAuth, changed_auth, new_auth
from agents.vaults.credentials import renewals_of
from agents.vaults.envelope import Envelope, Sealed
from agents.vaults.master_keys import master_keys
from agents.vaults.probe import Prober, Validation, answer_wire
from agents.vaults.records import CredentialRecord, Renewal
from agents.vaults.secrets import opened, sealed_anew


class CredentialRoutes:
    """Create, retrieve, update, list, delete, archive and validate."""

    def __init__(self, platform: Platform) -> None:
        settings = platform.settings
        self._vaults = platform.store.vaults
        self._clock = platform.clock
        self._envelope = envelope = Envelope(master_keys(settings))
        renewals = renewals_of(settings, self._vaults, envelope, self._clock)
        seconds = settings.vaults.token_timeout_seconds
        self._prober = Prober(settings.network.guard(), envelope, renewals, seconds=seconds)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/vaults/{vault_id}/credentials", "vaults", BetaManagedAgentsCredential
        one = f"{every}/{{credential_id}}"
        listing = (describe.INCLUDE_ARCHIVED, *describe.page(100))
        create, update, deleted = CredentialCreateParams, CredentialUpdateParams, BetaManagedAgentsDeletedCredential
        validation = BetaManagedAgentsCredentialValidation
        return [
            Operation("POST", every, self.create, "createCredential", tag, answer, body=create, statuses=[409]),
            Operation("GET", every, self.list, "listCredentials", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getCredential", tag, answer),
            Operation("POST", one, self.update, "updateCredential", tag, answer, body=update),
            Operation("DELETE", one, self.delete, "deleteCredential", tag, deleted),
            Operation("POST", f"{one}/archive", self.archive, "archiveCredential", tag, answer),
            Operation("POST", f"{one}/mcp_oauth_validate", self.validate, "validateCredential", tag, validation),
        ]

    async def create(self, request: Request) -> Response:
        params = parse(CredentialCreateParams, await read_json(request))
        vault = await vault_of(self._vaults, request)
        refuse_archived(vault)
        now = self._clock.now()
        checked = new_auth(params["auth"], now)
        name = params.get("display_name")
        if name is not None:
            limits.check_length("display_name", name, DISPLAY_NAME_CHARS)
        body = {
            "display_name": name,
            "metadata": metadata.checked(params.get("metadata", {})),
            "auth": checked.auth,
        }
        made = CredentialRecord(
            new_credential_id(), vault.id, checked.key, body, None, now, now, expires_at=checked.expires_at
        )
        made = replace(made, sealed=await sealed_anew(self._envelope, made.place, checked.secrets))
        await self._vaults.insert_credential(made)
        return json_answer(_wire(made))

    async def retrieve(self, request: Request) -> Response:
        return json_answer(_wire(await self._credential(request)))

    async def update(self, request: Request) -> Response:
        params = parse(CredentialUpdateParams, await read_json(request))
        found = await self._credential(request)
        _refuse_archived(found)
        secrets = await opened(self._envelope, found) if "auth" in params else None
        now = self._clock.now()

        def change(stored: CredentialRecord) -> CredentialRecord:
            _refuse_archived(stored)
            body = dict(stored.body)
            if "display_name" in params:
                name = params["display_name"]
                body["display_name"] = None if name is None else checked_name(name)
            if "metadata" in params:
                body["metadata"] = metadata.merged(body["metadata"], params["metadata"])
            changed = replace(stored, body=body)
            if "auth" in params and secrets is not None and stored.sealed is not None:
                checked = changed_auth(stored, params["auth"], now)
                changed = _with_auth(changed, checked, secrets.sealed(stored.sealed, checked.secrets))
            return stored if changed == stored else replace(changed, updated_at=now)

        return json_answer(_wire(await self._vaults.change_credential(found.vault_id, found.id, change)))

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "credentials", default=20, most=100, with_bounds=False)
        listing = Listing(include_archived=query.flag("include_archived"), **wanted.listing())
        vault = await vault_of(self._vaults, request)
        page = wanted.page(await self._vaults.list_credentials(vault.id, listing))
        return json_answer({"data": [_wire(row) for row in page.rows], "next_page": page.next_page})

    async def delete(self, request: Request) -> Response:
        found = await self._credential(request)
        await self._vaults.delete_credential(found.vault_id, found.id)
        return json_answer({"id": found.id, "type": "vault_credential_deleted"})

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        found, now = await self._credential(request), self._clock.now()

        def change(stored: CredentialRecord) -> CredentialRecord:
            return stored if stored.archived_at is not None else replace(stored, archived_at=now, updated_at=now)

        return json_answer(_wire(await self._vaults.change_credential(found.vault_id, found.id, change)))

    async def validate(self, request: Request) -> Response:
        no_fields(await read_json(request))
        found = await self._credential(request)
        validation = await self._prober.validate(found)
        return json_answer(_validation_wire(found, validation, rfc3339(self._clock.now())))

    async def _credential(self, request: Request) -> CredentialRecord:
        vault = await vault_of(self._vaults, request)
        return await self._vaults.credential(vault.id, request.path_params["credential_id"])


def _with_auth(credential: CredentialRecord, checked: NewAuth, sealed: Sealed) -> CredentialRecord:
    changed = replace(credential, body={**credential.body, "auth": checked.auth}, expires_at=checked.expires_at)
    # New secrets deserve a new try.
    return replace(changed, sealed=sealed, renewal=Renewal()) if checked.secrets else changed


def _refuse_archived(credential: CredentialRecord) -> None:
    if credential.archived_at is not None:
        raise InvalidRequest(
            f"vault credential {credential.id} is archived; create another one",
            error_code="vault_credential_archived",
        )


def _wire(credential: CredentialRecord) -> dict[str, Any]:
    auth = credential.auth
    if auth["type"] == "mcp_oauth":
        auth = {**auth, "expires_at": rfc3339(credential.expires_at) if credential.expires_at else None}
    return {
        "id": credential.id,
        "type": "vault_credential",
        "vault_id": credential.vault_id,
        **credential.body,
        "auth": auth,
        "created_at": rfc3339(credential.created_at),
        "updated_at": rfc3339(credential.updated_at),
        "archived_at": rfc3339(credential.archived_at) if credential.archived_at else None,
    }


def _validation_wire(credential: CredentialRecord, found: Validation, validated_at: str) -> dict[str, Any]:
    failed = found.failed
    return {
        "type": "vault_credential_validation",
        "vault_id": credential.vault_id,
        "credential_id": credential.id,
        "status": found.status,
        "has_refresh_token": found.has_refresh_token,
        "mcp_probe": None if failed is None else {"method": failed.method, "http_response": answer_wire(failed.answer)},
        "refresh": found.refresh,
        "validated_at": validated_at,
    }
