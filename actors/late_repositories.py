"""The repositories of sessions for a process that mostly copies none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from actors.late_store import LateStore
from agents.repositories.source import RepositorySource

if TYPE_CHECKING:
    from agents.repositories.access import StoredRepositories


class LateRepositories:
    """The RepositoryAccess of a sandbox host."""

    def __init__(self, store: LateStore) -> None:
        self._store = store
        self._made: StoredRepositories | None = None

    async def repository(self, session_id: str, resource_id: str) -> tuple[RepositorySource, SecretStr | None]:
        """See RepositoryAccess.repository. Raises as ``LateStore.get`` too."""
        if self._made is None:
            from agents.repositories.access import StoredRepositories
            from agents.vaults.envelope import Envelope
            from agents.vaults.master_keys import master_keys

            store = await self._store.get()
            self._made = StoredRepositories(store.sessions, Envelope(master_keys(self._store.settings)))
        return await self._made.repository(session_id, resource_id)
