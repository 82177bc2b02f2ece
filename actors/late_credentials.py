"""The credentials of vaults for a process that mostly needs none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actors.late_store import LateStore
from agents.vaults.port import EnvironmentCredential, ServerCredential

if TYPE_CHECKING:
    from agents.vaults.credentials import VaultCredentials


class LateCredentials:
    """The Credentials of a sandbox host."""

    def __init__(self, store: LateStore) -> None:
        self._store = store
        self._made: VaultCredentials | None = None

    async def for_server(self, vault_ids: Sequence[str], url: str) -> ServerCredential | None:
        """See Credentials.for_server."""
        return await (await self._credentials()).for_server(vault_ids, url) if vault_ids else None

    async def refused(
        self, credential: ServerCredential, vault_ids: Sequence[str], url: str
    ) -> ServerCredential | None:
        """See Credentials.refused."""
        return await (await self._credentials()).refused(credential, vault_ids, url)

    async def reason(self, vault_ids: Sequence[str], url: str) -> str:
        """See Credentials.reason."""
        return await (await self._credentials()).reason(vault_ids, url)

    async def for_environment(self, vault_ids: Sequence[str]) -> Sequence[EnvironmentCredential]:
        """See Credentials.for_environment."""
        return await (await self._credentials()).for_environment(vault_ids) if vault_ids else ()

    async def _credentials(self) -> VaultCredentials:
        """Raises as ``LateStore.get``."""
        if self._made is None:
            from agents.vaults.credentials import vault_credentials

            self._made = vault_credentials(self._store.settings, (await self._store.get()).vaults)
        return self._made
