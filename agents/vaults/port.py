"""The port to the credentials of a session's vaults, for those who put them on a connection (law 8).

Only the MCP client and the egress proxy ask it. A secret travels as a SecretStr, whose repr and str hide it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class ServerCredential:
    """What authenticates at one MCP server: request headers, and which credential they come from."""

    vault_id: str
    credential_id: str
    headers: Mapping[str, SecretStr] = field(default_factory=lambda: {})


@dataclass(frozen=True, slots=True)
class EnvironmentCredential:
    """A secret that a sandbox knows under ``secret_name`` as a stand-in, and the egress proxy puts in the real one."""

    vault_id: str
    credential_id: str
    secret_name: str
    value: SecretStr
    allowed_hosts: tuple[str, ...] | None
    """Hosts that may get it; None: any that the environment may reach."""
    in_header: bool = True
    in_body: bool = False


class Credentials(Protocol):
    """The credentials of vaults. Every call raises Unavailable when the store or a token endpoint does not answer."""

    async def for_server(self, vault_ids: Sequence[str], url: str) -> ServerCredential | None:
        """Return what the first vault of *vault_ids* with a matching URL holds, refreshed when it has expired."""
        ...

    async def refused(
        self, credential: ServerCredential, vault_ids: Sequence[str], url: str
    ) -> ServerCredential | None:
        """The server refused *credential*: return a renewed one to try once, or None when there is none."""
        ...

    async def reason(self, vault_ids: Sequence[str], url: str) -> str:
        """Say why there is no credential for *url*, in words that a session's client may read; no secret is in them.

        To be put into the ``mcp_authentication_failed_error`` of a server that was asked without a credential, or
        refused it: no vault has one, or its renewal failed so and so.
        """
        ...

    async def for_environment(self, vault_ids: Sequence[str]) -> Sequence[EnvironmentCredential]:
        """Return the environment-variable credentials; for a name held by several vaults that of the first."""
        ...


class NoCredentials:
    """The Credentials of a platform without vaults."""

    async def for_server(self, vault_ids: Sequence[str], url: str) -> ServerCredential | None:
        """See Credentials.for_server."""
        del vault_ids, url
        return None

    async def refused(
        self, credential: ServerCredential, vault_ids: Sequence[str], url: str
    ) -> ServerCredential | None:
        """See Credentials.refused."""
        del credential, vault_ids, url
        return None

    async def reason(self, vault_ids: Sequence[str], url: str) -> str:
        """See Credentials.reason."""
        del vault_ids, url
        return "no vault has a credential for it"

    async def for_environment(self, vault_ids: Sequence[str]) -> Sequence[EnvironmentCredential]:
        """See Credentials.for_environment."""
        del vault_ids
        return ()
