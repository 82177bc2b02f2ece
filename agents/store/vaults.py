"""Vaults and their credentials on a database.

Who adds a credential, or archives a vault, holds the vault's row; who changes a credential holds the credential's, and
takes no other: nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from agents.clock import Clock
from agents.errors import Conflict, InvalidRequest, NotFound
from agents.listing import Listing
from agents.store.announcing import announce, announce_all
from agents.store.codec import Row, findable, micros
from agents.store.engine import Database
from agents.store.paging import page
from agents.store.tables import vault_credentials, vaults
from agents.store.vault_news import change_news, credential_news, vault_news
from agents.store.vault_rows import credential_of, credential_row, vault_of, vault_row
from agents.vaults.records import MAX_CREDENTIALS, CredentialRecord, Renewal, VaultRecord

_NO_SECRETS: Row = {
    "sealed": None,
    "data_key": None,
    "master_key": None,
    "renewer": None,
    "renewer_until": None,
    "retry_at": None,
    "failure": None,
}

_LIVE = (
    select(vault_credentials.c.id)
    .where(vault_credentials.c.vault_id == bindparam("in_vault"), vault_credentials.c.archived_at.is_(None))
    .order_by(vault_credentials.c.id)
)


class SqlVaults:
    """The VaultRepository of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def insert(self, vault: VaultRecord) -> None:
        """See VaultRepository.insert."""
        row = vault_row(vault)

        def work(connection: Connection) -> None:
            connection.execute(insert(vaults), row).close()
            announce(connection, vault_news("created", vault, vault.created_at))

        await self._database.write(work)

    async def get(self, vault_id: str) -> VaultRecord:
        """See VaultRepository.get."""
        return await self._database.read(lambda connection: _vault(connection, vault_id))

    async def change(self, vault_id: str, change: Callable[[VaultRecord], VaultRecord]) -> VaultRecord:
        """See VaultRepository.change."""

        def work(connection: Connection) -> VaultRecord:
            stored = _vault(connection, vault_id, lock=True)
            changed = kept_vault(stored, change(stored))
            connection.execute(update(vaults).where(vaults.c.id == vault_id).values(vault_row(changed)))
            return changed

        return await self._database.write(work)

    async def archive(self, vault_id: str, moment: datetime) -> VaultRecord:
        """See VaultRepository.archive."""
        now = micros(moment)
        live = update(vault_credentials).where(
            vault_credentials.c.vault_id == vault_id, vault_credentials.c.archived_at.is_(None)
        )

        def work(connection: Connection) -> VaultRecord:
            stored = _vault(connection, vault_id, lock=True)
            if stored.archived_at is not None:
                return stored
            archived = replace(stored, archived_at=moment, updated_at=moment)
            connection.execute(update(vaults).where(vaults.c.id == vault_id).values(vault_row(archived)))
            with_it = connection.execute(_LIVE, {"in_vault": vault_id}).scalars().all()
            connection.execute(live.values(archived_at=now, updated_at=now, **_NO_SECRETS))
            announce(connection, vault_news("archived", archived, moment))
            announce_all(
                connection,
                (credential_news("archived", vault_id, each, archived.workspace_id, moment) for each in with_it),
            )
            return archived

        return await self._database.write(work)

    async def delete(self, vault_id: str) -> None:
        """See VaultRepository.delete."""

        def work(connection: Connection) -> None:
            stored = _vault(connection, vault_id, lock=True)
            connection.execute(delete(vault_credentials).where(vault_credentials.c.vault_id == vault_id))
            connection.execute(delete(vaults).where(vaults.c.id == vault_id))
            announce(connection, vault_news("deleted", stored, self._clock.now()))

        await self._database.write(work)

    async def list(self, query: Listing, principal: str) -> Sequence[VaultRecord]:
        """See VaultRepository.list."""
        columns = vaults.c
        wanted = select(vaults)
        if principal:
            if not findable(principal):
                return []
            wanted = wanted.where(columns.principal.in_((principal, "")))
        statement = page(
            wanted, columns.created_at, columns.id, columns.archived_at, query, workspace=columns.workspace_id
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [vault_of(row) for row in rows]

    async def insert_credential(self, credential: CredentialRecord) -> None:
        """See VaultRepository.insert_credential."""
        row = credential_row(credential)
        columns = vault_credentials.c
        live = select(func.count()).where(columns.vault_id == credential.vault_id, columns.archived_at.is_(None))

        def work(connection: Connection) -> None:
            # The lock is what makes the count hold until the commit.
            vault = _vault(connection, credential.vault_id, lock=True)
            check_room(
                vault,
                connection.execute(live).scalar_one(),
                taken=connection.execute(live.where(columns.key == credential.key)).scalar_one() > 0,
                key=credential.key,
            )
            connection.execute(insert(vault_credentials), row)
            at = credential.created_at
            announce(connection, credential_news("created", vault.id, credential.id, vault.workspace_id, at))

        await self._database.write(work)

    async def credential(self, vault_id: str, credential_id: str) -> CredentialRecord:
        """See VaultRepository.credential."""
        return await self._database.read(lambda connection: _credential(connection, vault_id, credential_id))

    async def change_credential(
        self, vault_id: str, credential_id: str, change: Callable[[CredentialRecord], CredentialRecord]
    ) -> CredentialRecord:
        """See VaultRepository.change_credential."""

        def work(connection: Connection) -> CredentialRecord:
            stored = _credential(connection, vault_id, credential_id, lock=True)
            changed = kept_credential(stored, change(stored))
            if changed != stored:
                row = credential_row(changed)
                connection.execute(update(vault_credentials).where(vault_credentials.c.id == credential_id).values(row))
                owner = _workspace(connection, vault_id)
                announce_all(connection, change_news(stored, changed, owner, self._clock.now()))
            return changed

        return await self._database.write(work)

    async def delete_credential(self, vault_id: str, credential_id: str) -> None:
        """See VaultRepository.delete_credential."""

        def work(connection: Connection) -> None:
            _credential(connection, vault_id, credential_id, lock=True)
            connection.execute(delete(vault_credentials).where(vault_credentials.c.id == credential_id))
            owner = _workspace(connection, vault_id)
            announce(connection, credential_news("deleted", vault_id, credential_id, owner, self._clock.now()))

        await self._database.write(work)

    async def list_credentials(self, vault_id: str, query: Listing) -> Sequence[CredentialRecord]:
        """See VaultRepository.list_credentials."""
        columns = vault_credentials.c
        wanted = select(vault_credentials).where(columns.vault_id == vault_id)
        statement = page(wanted, columns.created_at, columns.id, columns.archived_at, query)

        def work(connection: Connection) -> list[CredentialRecord]:
            _vault(connection, vault_id)
            return [credential_of(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)

    async def active(self, vault_ids: Sequence[str], key: str | None = None) -> Sequence[CredentialRecord]:
        """See VaultRepository.active."""
        columns = vault_credentials.c
        wanted = [vault_id for vault_id in vault_ids if findable(vault_id)]
        statement = select(vault_credentials).where(columns.vault_id.in_(wanted), columns.archived_at.is_(None))
        if key is not None:
            statement = statement.where(columns.key == key)
        if not wanted or (key is not None and not findable(key)):
            return []
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return in_order(map(credential_of, rows), vault_ids)

    async def under_other_keys(self, master_key: str, limit: int) -> Sequence[CredentialRecord]:
        """See VaultRepository.under_other_keys."""
        columns = vault_credentials.c
        # By < and >, which an index serves; a purged row has none.
        others = (columns.master_key < master_key) | (columns.master_key > master_key)
        statement = select(vault_credentials).where(others).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [credential_of(row) for row in rows]


def _vault(connection: Connection, vault_id: str, *, lock: bool = False) -> VaultRecord:
    row = None
    if findable(vault_id):
        statement = select(vaults).where(vaults.c.id == vault_id)
        row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if row is None:
        raise no_vault(vault_id)
    return vault_of(row)


def _workspace(connection: Connection, vault_id: str) -> str:
    return connection.execute(select(vaults.c.workspace_id).where(vaults.c.id == vault_id)).scalar_one()


def _credential(connection: Connection, vault_id: str, credential_id: str, *, lock: bool = False) -> CredentialRecord:
    row = None
    if findable(vault_id) and findable(credential_id):
        columns = vault_credentials.c
        statement = select(vault_credentials).where(columns.id == credential_id, columns.vault_id == vault_id)
        row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if row is None:
        raise no_credential(credential_id)
    return credential_of(row)


def no_vault(vault_id: str) -> NotFound:
    """Word that there is no such vault, or none that the caller may know of."""
    return NotFound(f"vault {vault_id} not found")


def no_credential(credential_id: str) -> NotFound:
    """Word that a vault has no such credential."""
    return NotFound(f"vault credential {credential_id} not found")


def refuse_archived(vault: VaultRecord) -> None:
    """Raise InvalidRequest (``vault_archived``) when the vault is archived."""
    if vault.archived_at is not None:
        raise InvalidRequest(f"vault {vault.id} is archived", error_code="vault_archived")


def check_room(vault: VaultRecord, live: int, *, taken: bool, key: str) -> None:
    """Raise InvalidRequest or Conflict when *vault* takes no credential for *key*, of *live* that it has."""
    refuse_archived(vault)
    if taken:
        kind, _, what = key.partition(":")
        field = "mcp_server_url" if kind == "url" else "secret_name"
        raise Conflict(f"auth.{field}: vault {vault.id} already has a credential for {what}; update or archive it")
    if live >= MAX_CREDENTIALS:
        raise InvalidRequest(f"vault {vault.id} has {MAX_CREDENTIALS} credentials, and may have no more")


def kept_vault(stored: VaultRecord, changed: VaultRecord) -> VaultRecord:
    """Return *changed* with what never changes."""
    return replace(
        changed,
        id=stored.id,
        principal=stored.principal,
        workspace_id=stored.workspace_id,
        created_at=stored.created_at,
    )


def kept_credential(stored: CredentialRecord, changed: CredentialRecord) -> CredentialRecord:
    """Return *changed* with what never changes, and without secrets when it is archived."""
    kept = replace(changed, id=stored.id, vault_id=stored.vault_id, key=stored.key, created_at=stored.created_at)
    return kept if kept.archived_at is None else replace(kept, sealed=None, renewal=Renewal())


def in_order(found: Iterable[CredentialRecord], vault_ids: Sequence[str]) -> list[CredentialRecord]:
    """Sort credentials by the places of their vaults in *vault_ids*, then by age."""
    places = {vault_id: place for place, vault_id in reversed(list(enumerate(vault_ids)))}
    return sorted(found, key=lambda each: (places[each.vault_id], each.created_at, each.id))
