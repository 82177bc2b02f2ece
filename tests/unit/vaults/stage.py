"""A store with a vault, what renews its tokens, and short ways to put credentials there."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

from agents.clock import Clock, SystemClock
from agents.ids import new_id
from agents.net.guard import Guard
from agents.store.database import SqlStore
from agents.store.memory import MemoryStore
from agents.vaults.auth_config import new_auth
from agents.vaults.credentials import VaultCredentials
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import HeldKeys
from agents.vaults.records import CredentialRecord, VaultRecord
from agents.vaults.renewal import Renewals
from agents.vaults.secrets import opened, sealed_anew
from agents.vaults.settings import key_id
from agents.vaults.token_endpoint import TokenEndpoint

MCP = "https://mcp.example.com/mcp"
LOOPBACK = Guard((ip_network("127.0.0.0/8"),))


def fresh_key() -> dict[str, bytes]:
    key = os.urandom(32)
    return {key_id(key): key}


@dataclass
class Stage:
    """One process's view of the vaults; several may share a store and a master key."""

    store: MemoryStore | SqlStore
    envelope: Envelope
    clock: Clock
    renewals: Renewals
    credentials: VaultCredentials
    seconds: float

    async def vault(self, principal: str = "") -> str:
        now, vault_id = self.clock.now(), new_id("vlt")
        body = {"display_name": "v", "metadata": {}}
        await self.store.vaults.insert(VaultRecord(vault_id, principal, body, now, now))
        return vault_id

    async def put(self, vault_id: str, **auth: Any) -> CredentialRecord:
        """Put a credential into a vault, as the API does."""
        now = self.clock.now()
        # A test's token may have expired.
        expires_in = auth.pop("expires_in", None)
        checked = new_auth(auth, now)
        body = {"display_name": None, "metadata": {}, "auth": checked.auth}
        expires_at = None if expires_in is None else now + timedelta(seconds=expires_in)
        record = CredentialRecord(new_id("vcrd"), vault_id, checked.key, body, None, now, now, expires_at)
        record = replace(record, sealed=await sealed_anew(self.envelope, record.place, checked.secrets))
        await self.store.vaults.insert_credential(record)
        return record

    async def oauth(self, vault_id: str, endpoint: str, **changes: Any) -> CredentialRecord:
        """Put an OAuth credential whose access token has expired."""
        refresh = {
            "client_id": "client",
            "refresh_token": "refresh-0",
            "token_endpoint": endpoint,
            "token_endpoint_auth": {"type": "none"},
            **changes.pop("refresh", {}),
        }
        auth = {"type": "mcp_oauth", "mcp_server_url": MCP, "access_token": "access-0", "expires_in": -1, **changes}
        return await self.put(vault_id, refresh=refresh, **auth)

    async def read(self, record: CredentialRecord) -> CredentialRecord:
        return await self.store.vaults.credential(record.vault_id, record.id)

    async def secrets(self, record: CredentialRecord) -> dict[str, str]:
        found = await opened(self.envelope, await self.read(record))
        return {} if found is None else {name: value.get_secret_value() for name, value in found.values.items()}


def stage(
    store: MemoryStore | SqlStore | None = None,
    *,
    keys: dict[str, bytes] | None = None,
    clock: Clock | None = None,
    seconds: float = 5.0,
    guard: Guard = LOOPBACK,
) -> Stage:
    store, clock = store or MemoryStore(), clock or SystemClock()
    envelope = Envelope(HeldKeys(keys or fresh_key()))
    renewals = Renewals(store.vaults, envelope, TokenEndpoint(guard, seconds=seconds), clock)
    credentials = VaultCredentials(store.vaults, envelope, renewals, clock)
    return Stage(store, envelope, clock, renewals, credentials, seconds)


def bearer(found: Any) -> str | None:
    """The header that a server would get."""
    return None if found is None else found.headers["Authorization"].get_secret_value()
