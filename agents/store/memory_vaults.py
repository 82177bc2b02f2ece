"""Vaults and their credentials, in one process's memory; nothing between two awaits changes but at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from agents.clock import Clock, SystemClock
from agents.errors import Conflict
from agents.listing import Listing
from agents.store.codec import Row
from agents.store.memory_catalog import memory_page
from agents.store.vault_news import change_news, credential_news, vault_news
from agents.store.vault_rows import credential_of, credential_row, vault_of, vault_row
from agents.store.vaults import check_room, in_order, kept_credential, kept_vault, no_credential, no_vault
from agents.vaults.records import CredentialRecord, VaultRecord
from agents.webhooks.announcing import Announce, silent


class MemoryVaults:
    """The VaultRepository of one process."""

    def __init__(self, clock: Clock | None = None, announce: Announce = silent) -> None:
        self._clock = clock or SystemClock()
        self._announce = announce
        self._vaults: dict[str, Row] = {}
        self._credentials: dict[str, Row] = {}

    async def insert(self, vault: VaultRecord) -> None:
        if vault.id in self._vaults:
            raise Conflict(f"vault {vault.id} already exists")
        self._vaults[vault.id] = vault_row(vault)
        self._announce(vault_news("created", vault, vault.created_at))

    async def get(self, vault_id: str) -> VaultRecord:
        row = self._vaults.get(vault_id)
        if row is None:
            raise no_vault(vault_id)
        return vault_of(row)

    async def change(self, vault_id: str, change: Callable[[VaultRecord], VaultRecord]) -> VaultRecord:
        stored = await self.get(vault_id)
        changed = kept_vault(stored, change(stored))
        self._vaults[vault_id] = vault_row(changed)
        return changed

    async def archive(self, vault_id: str, moment: datetime) -> VaultRecord:
        stored = await self.get(vault_id)
        if stored.archived_at is None:
            stored = replace(stored, archived_at=moment, updated_at=moment)
            self._vaults[vault_id] = vault_row(stored)
            self._announce(vault_news("archived", stored, moment))
            for record in await self.active([vault_id]):
                self._put(kept_credential(record, replace(record, archived_at=moment, updated_at=moment)))
                self._announce(credential_news("archived", vault_id, record.id, stored.workspace_id, moment))
        return stored

    async def delete(self, vault_id: str) -> None:
        stored = await self.get(vault_id)
        del self._vaults[vault_id]
        self._announce(vault_news("deleted", stored, self._clock.now()))
        self._credentials = {name: row for name, row in self._credentials.items() if row["vault_id"] != vault_id}

    async def list(self, query: Listing, principal: str) -> Sequence[VaultRecord]:
        every = map(vault_of, self._vaults.values())
        return memory_page((vault for vault in every if vault.is_for(principal)), query)

    async def insert_credential(self, credential: CredentialRecord) -> None:
        vault, live = await self.get(credential.vault_id), await self.active([credential.vault_id])
        taken = any(each.key == credential.key for each in live)
        check_room(vault, len(live), taken=taken, key=credential.key)
        if credential.id in self._credentials:
            raise Conflict(f"vault credential {credential.id} already exists")
        self._put(credential)
        at = credential.created_at
        self._announce(credential_news("created", vault.id, credential.id, vault.workspace_id, at))

    async def credential(self, vault_id: str, credential_id: str) -> CredentialRecord:
        row = self._credentials.get(credential_id)
        if row is None or row["vault_id"] != vault_id:
            raise no_credential(credential_id)
        return credential_of(row)

    async def change_credential(
        self, vault_id: str, credential_id: str, change: Callable[[CredentialRecord], CredentialRecord]
    ) -> CredentialRecord:
        stored = await self.credential(vault_id, credential_id)
        changed = kept_credential(stored, change(stored))
        self._put(changed)
        owner = (await self.get(vault_id)).workspace_id
        for news in change_news(stored, changed, owner, self._clock.now()):
            self._announce(news)
        return changed

    async def delete_credential(self, vault_id: str, credential_id: str) -> None:
        await self.credential(vault_id, credential_id)
        del self._credentials[credential_id]
        owner = (await self.get(vault_id)).workspace_id
        self._announce(credential_news("deleted", vault_id, credential_id, owner, self._clock.now()))

    async def list_credentials(self, vault_id: str, query: Listing) -> Sequence[CredentialRecord]:
        await self.get(vault_id)
        return memory_page((each for each in self._every() if each.vault_id == vault_id), query)

    async def active(self, vault_ids: Sequence[str], key: str | None = None) -> Sequence[CredentialRecord]:
        live = (each for each in self._every() if each.archived_at is None and each.vault_id in vault_ids)
        return in_order((each for each in live if key in (None, each.key)), vault_ids)

    async def under_other_keys(self, master_key: str, limit: int) -> Sequence[CredentialRecord]:
        return [each for each in self._every() if each.sealed and each.sealed.key.master_key != master_key][:limit]

    def _every(self) -> list[CredentialRecord]:
        return [credential_of(row) for row in self._credentials.values()]

    def _put(self, credential: CredentialRecord) -> None:
        self._credentials[credential.id] = credential_row(credential)
