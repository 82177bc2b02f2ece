"""The credentials of a session's vaults: which one is meant, fit to be used (port: agents.vaults.port)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import SecretStr

from agents.clock import Clock, SystemClock
from agents.config import Settings
from agents.errors import Unavailable
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys
from agents.vaults.port import EnvironmentCredential, ServerCredential
from agents.vaults.records import CredentialRecord, VaultRepository
from agents.vaults.renewal import Attempt, Renewals
from agents.vaults.secrets import opened
from agents.vaults.token_endpoint import TokenEndpoint
from agents.vaults.urls import normalized

SKEW = timedelta(seconds=30)
"""A token is renewed so long before it expires: clocks differ, and a request takes its time."""


class VaultCredentials:
    """The Credentials of the vaults in a store."""

    def __init__(self, vaults: VaultRepository, envelope: Envelope, renewals: Renewals, clock: Clock) -> None:
        self._vaults = vaults
        self._envelope = envelope
        self._renewals = renewals
        self._clock = clock

    async def for_server(self, vault_ids: Sequence[str], url: str) -> ServerCredential | None:
        """See Credentials.for_server."""
        record = await self._match(vault_ids, url)
        if record is None:
            return None
        now = self._clock.now()
        if record.expires_at is None or record.expires_at - SKEW > now:
            return await self._usable(record)
        attempt = await self._renewals.renew(record)
        if attempt.record is not None:
            return await self._usable(attempt.record)
        if record.expires_at > now:
            return await self._usable(record)  # the old token still has its moment
        _check_answered(record, attempt)
        return None

    async def refused(
        self, credential: ServerCredential, vault_ids: Sequence[str], url: str
    ) -> ServerCredential | None:
        """See Credentials.refused."""
        record = await self._match(vault_ids, url)
        if record is None:
            return None
        found = await self._usable(record)
        if found is None or found.headers != credential.headers:
            return found  # another has renewed or replaced it
        attempt = await self._renewals.renew(record)
        if attempt.record is not None:
            return await self._usable(attempt.record)
        _check_answered(record, attempt)
        return None

    async def reason(self, vault_ids: Sequence[str], url: str) -> str:
        """See Credentials.reason."""
        if not vault_ids:
            return "the session has no vaults"
        record = await self._match(vault_ids, url)
        if record is None:
            return "no vault of the session has a credential for this URL"
        failure = record.renewal.failure
        if failure is not None:
            return f"vault credential {record.id} could not be renewed: {failure.reason}"
        if record.expires_at is not None and record.expires_at <= self._clock.now():
            return f"the token of vault credential {record.id} has expired"
        return f"the server does not accept vault credential {record.id}"

    async def for_environment(self, vault_ids: Sequence[str]) -> Sequence[EnvironmentCredential]:
        """See Credentials.for_environment."""
        found: dict[str, EnvironmentCredential] = {}
        for record in await self._vaults.active(vault_ids) if vault_ids else ():
            if record.auth["type"] == "environment_variable" and record.auth["secret_name"] not in found:
                secrets = await opened(self._envelope, record)
                if secrets is not None:
                    variable = _variable(record, secrets.values["secret_value"])
                    found[variable.secret_name] = variable
        return list(found.values())

    async def _match(self, vault_ids: Sequence[str], url: str) -> CredentialRecord | None:
        server = normalized(url) if vault_ids else None
        if server is None:
            return None
        found = await self._vaults.active(vault_ids, f"url:{server}")
        return found[0] if found else None

    async def _usable(self, record: CredentialRecord) -> ServerCredential | None:
        secrets = await opened(self._envelope, record)
        if secrets is None:
            return None
        token = secrets.values["token" if record.auth["type"] == "static_bearer" else "access_token"]
        headers = {"Authorization": SecretStr(f"Bearer {token.get_secret_value()}")}
        return ServerCredential(record.vault_id, record.id, headers)


def _check_answered(record: CredentialRecord, attempt: Attempt) -> None:
    """Raise Unavailable when a token endpoint may still renew the credential, once it answers."""
    if attempt.failure is not None and attempt.failure.transient:
        raise Unavailable(f"vault credential {record.id} could not be renewed: {attempt.failure.reason}")


def _variable(record: CredentialRecord, value: SecretStr) -> EnvironmentCredential:
    auth = record.auth
    networking, injection = auth["networking"], auth["injection_location"]
    hosts = None if networking["type"] == "unrestricted" else tuple(networking["allowed_hosts"])
    return EnvironmentCredential(
        vault_id=record.vault_id,
        credential_id=record.id,
        secret_name=auth["secret_name"],
        value=value,
        allowed_hosts=hosts,
        in_header=injection["header"],
        in_body=injection["body"],
    )


def renewals_of(settings: Settings, vaults: VaultRepository, envelope: Envelope, clock: Clock) -> Renewals:
    """Return what renews tokens as *settings* allow."""
    endpoint = TokenEndpoint(settings.network.guard(), seconds=settings.vaults.token_timeout_seconds)
    return Renewals(vaults, envelope, endpoint, clock)


def vault_credentials(settings: Settings, vaults: VaultRepository) -> VaultCredentials:
    """Return the credentials of a platform, for its MCP client and its egress proxy."""
    clock, envelope = SystemClock(), Envelope(master_keys(settings))
    return VaultCredentials(vaults, envelope, renewals_of(settings, vaults, envelope, clock), clock)
