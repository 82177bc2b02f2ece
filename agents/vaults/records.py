"""Vaults and credentials as they are stored, and the port to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.listing import Listing
from agents.vaults.envelope import Place, Sealed

MAX_CREDENTIALS = 20  # of a vault, archived ones not counted; spec A.8


@dataclass(frozen=True, slots=True)
class VaultRecord:
    """One vault; ``principal`` is whose it is, ``body`` holds display_name and metadata."""

    id: str
    principal: str
    body: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None
    workspace_id: str = DEFAULT_WORKSPACE

    def is_for(self, principal: str) -> bool:
        """Whether *principal* may know of it. The nameless one (a server that takes any key) is nobody and everyone."""
        return not self.principal or not principal or self.principal == principal


@dataclass(frozen=True, slots=True)
class RenewalFailure:
    """Why a token was not renewed; of a ``transient`` one the token endpoint may think better."""

    reason: str
    transient: bool


@dataclass(frozen=True, slots=True)
class Renewal:
    """Who renews the access token just now, until when nobody else does, and how the last one ended.

    ``not_before`` is when the next may begin.
    """

    renewer: str | None = None
    until: datetime | None = None
    not_before: datetime | None = None
    failure: RenewalFailure | None = None


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """One credential. ``key`` is what it is for (``url:...`` or ``env:...``), ``body`` what the API shows of it:
    display_name, metadata and auth, less secrets and expiry. ``sealed`` is None once it is archived."""

    id: str
    vault_id: str
    key: str
    body: dict[str, Any]
    sealed: Sealed | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    archived_at: datetime | None = None
    renewal: Renewal = field(default=Renewal())

    @property
    def auth(self) -> dict[str, Any]:
        return self.body["auth"]

    @property
    def place(self) -> Place:
        return Place(self.vault_id, self.id)


class VaultRepository(Protocol):
    """Vaults and their credentials. Every call may raise Unavailable.

    A *change* is a plain function from the stored record to what it becomes; it runs inside the transaction, may run
    again, and what it raises is raised, with nothing written.
    """

    async def insert(self, vault: VaultRecord) -> None: ...

    async def get(self, vault_id: str) -> VaultRecord:
        """Raises NotFound."""
        ...

    async def change(self, vault_id: str, change: Callable[[VaultRecord], VaultRecord]) -> VaultRecord:
        """Change a vault; ids, owner and birth stay. Raises NotFound."""
        ...

    async def archive(self, vault_id: str, moment: datetime) -> VaultRecord:
        """Archive it with all its credentials (the first moment stays); their secrets are gone. Raises NotFound."""
        ...

    async def delete(self, vault_id: str) -> None:
        """Delete it with all its credentials. Raises NotFound."""
        ...

    async def list(self, query: Listing, principal: str) -> Sequence[VaultRecord]:
        """Those that *principal* may know of, up to ``limit + 1`` rows."""
        ...

    async def insert_credential(self, credential: CredentialRecord) -> None:
        """Raises NotFound, InvalidRequest when the vault is archived or full, Conflict when the key is taken."""
        ...

    async def credential(self, vault_id: str, credential_id: str) -> CredentialRecord:
        """Raises NotFound, also for a credential of another vault."""
        ...

    async def change_credential(
        self, vault_id: str, credential_id: str, change: Callable[[CredentialRecord], CredentialRecord]
    ) -> CredentialRecord:
        """Change a credential; ids, key and birth stay, and one that is archived has no secrets. Raises NotFound."""
        ...

    async def delete_credential(self, vault_id: str, credential_id: str) -> None:
        """Raises NotFound."""
        ...

    async def list_credentials(self, vault_id: str, query: Listing) -> Sequence[CredentialRecord]:
        """Up to ``limit + 1`` rows. Raises NotFound."""
        ...

    async def active(self, vault_ids: Sequence[str], key: str | None = None) -> Sequence[CredentialRecord]:
        """Return the credentials of these vaults that are not archived: vaults in the given order, oldest first.

        With *key* only those for it.
        """
        ...

    async def under_other_keys(self, master_key: str, limit: int) -> Sequence[CredentialRecord]:
        """Return up to *limit* credentials whose data key is wrapped by another master key."""
        ...
