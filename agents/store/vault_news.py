"""What changes of vaults and their credentials tell webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from agents.vaults.records import CredentialRecord, VaultRecord
from agents.webhooks.announcing import Announcement


def vault_news(what: str, vault: VaultRecord, at: datetime) -> Announcement:
    """Say that a vault was ``created``, ``archived`` or ``deleted``."""
    return Announcement(f"vault.{what}", vault.id, vault.workspace_id, at)


def credential_news(what: str, vault_id: str, credential_id: str, workspace_id: str, at: datetime) -> Announcement:
    """Say that a credential was ``created``, ``archived`` or ``deleted``, or could not be refreshed."""
    return Announcement(f"vault_credential.{what}", credential_id, workspace_id, at, {"vault_id": vault_id})


def change_news(
    before: CredentialRecord, after: CredentialRecord, workspace_id: str, at: datetime
) -> Iterator[Announcement]:
    """Yield what a change of a credential tells; a failure that may pass is none yet."""
    if before.archived_at is None and after.archived_at is not None:
        yield credential_news("archived", after.vault_id, after.id, workspace_id, at)
    failure = after.renewal.failure
    if failure is not None and not failure.transient and failure != before.renewal.failure:
        yield credential_news("refresh_failed", after.vault_id, after.id, workspace_id, at)
