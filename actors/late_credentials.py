"""The credentials of vaults for a process that mostly needs none: the store is opened when the first is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.config import Settings
from agents.vaults.port import EnvironmentCredential, ServerCredential

if TYPE_CHECKING:
    from agents.store.database import SqlStore
    from agents.vaults.credentials import VaultCredentials


class LateCredentials:
    """The Credentials of a sandbox host."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = asyncio.Lock()
        self._opened: tuple[SqlStore, VaultCredentials] | None = None

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

    async def close(self) -> None:
        """Give the connections back. Raises Unavailable."""
        if self._opened is not None:
            await self._opened[0].close()

    async def _credentials(self) -> VaultCredentials:
        """Raises Unavailable, or InvalidRequest when the settings do not fit the database; the next call tries anew."""
        async with self._opening:
            if self._opened is None:
                from actors.database import open_platform_store
                from agents.vaults.credentials import vault_credentials

                store = await open_platform_store(self._settings)
                self._opened = store, vault_credentials(self._settings, store.vaults)
            return self._opened[1]
