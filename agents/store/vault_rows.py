"""How vaults and credentials become rows, and rows become them: see ``codec`` for the rules."""

from __future__ import annotations

from typing import Any

from agents.errors import InvalidRequest
from agents.store.codec import Row, RowView, decode, encode, findable, micros, micros_or_none, moment_at, moment_or_none
from agents.vaults.envelope import Sealed, WrappedKey
from agents.vaults.records import CredentialRecord, Renewal, RenewalFailure, VaultRecord


def vault_row(vault: VaultRecord) -> Row:
    """Return the row of a vault."""
    return {
        "id": vault.id,
        "workspace_id": vault.workspace_id,
        "principal": vault.principal,
        "body": encode(vault.body),
        "created_at": micros(vault.created_at),
        "updated_at": micros(vault.updated_at),
        "archived_at": micros_or_none(vault.archived_at),
    }


def vault_of(row: RowView) -> VaultRecord:
    """Return the vault of a row."""
    return VaultRecord(
        id=row["id"],
        principal=row["principal"],
        body=decode(row["body"]),
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
        archived_at=moment_or_none(row["archived_at"]),
        workspace_id=row["workspace_id"],
    )


def credential_row(credential: CredentialRecord) -> Row:
    """Return the row of a credential. Raises InvalidRequest for a key that no database can compare."""
    if not findable(credential.key):
        raise InvalidRequest("auth: mcp_server_url and secret_name must not hold NUL or unpaired surrogates")
    sealed, renewal = credential.sealed, credential.renewal
    failure = renewal.failure
    return {
        "id": credential.id,
        "vault_id": credential.vault_id,
        "key": credential.key,
        "body": encode(credential.body),
        "sealed": None if sealed is None else encode(dict(sealed.fields)),
        "data_key": None if sealed is None else sealed.key.text,
        "master_key": None if sealed is None else sealed.key.master_key,
        "expires_at": micros_or_none(credential.expires_at),
        "renewer": renewal.renewer,
        "renewer_until": micros_or_none(renewal.until),
        "retry_at": micros_or_none(renewal.not_before),
        "failure": None if failure is None else encode([failure.reason, failure.transient]),
        "created_at": micros(credential.created_at),
        "updated_at": micros(credential.updated_at),
        "archived_at": micros_or_none(credential.archived_at),
    }


def credential_of(row: RowView) -> CredentialRecord:
    """Return the credential of a row."""
    sealed: Any = row["sealed"]
    failure: Any = row["failure"]
    return CredentialRecord(
        id=row["id"],
        vault_id=row["vault_id"],
        key=row["key"],
        body=decode(row["body"]),
        sealed=None if sealed is None else Sealed(WrappedKey(row["master_key"], row["data_key"]), decode(sealed)),
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
        expires_at=moment_or_none(row["expires_at"]),
        archived_at=moment_or_none(row["archived_at"]),
        renewal=Renewal(
            renewer=row["renewer"],
            until=moment_or_none(row["renewer_until"]),
            not_before=moment_or_none(row["retry_at"]),
            failure=None if failure is None else RenewalFailure(*decode(failure)),
        ),
    )
