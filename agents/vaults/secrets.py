"""The secrets of a credential, opened, and put back sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import SecretStr

from agents.vaults.envelope import DataKey, Envelope, Place, Sealed
from agents.vaults.records import CredentialRecord


@dataclass(frozen=True, slots=True)
class OpenSecrets:
    """The secrets of one credential by the names of their fields, and the key to seal new ones by."""

    key: DataKey
    values: Mapping[str, SecretStr]

    def sealed(self, stored: Sealed, fresh: Mapping[str, SecretStr]) -> Sealed:
        """Return *stored* with the fields of *fresh* sealed in place of what was there."""
        return replace(stored, fields={**stored.fields, **{name: self.key.seal(name, fresh[name]) for name in fresh}})


async def sealed_anew(envelope: Envelope, place: Place, secrets: Mapping[str, SecretStr]) -> Sealed:
    """Seal the secrets of a new credential. Raises Unavailable, or InvalidRequest when no key is set."""
    key, wrapped = await envelope.new_key(place)
    return Sealed(wrapped, {name: key.seal(name, secret) for name, secret in secrets.items()})


async def opened(envelope: Envelope, record: CredentialRecord) -> OpenSecrets | None:
    """Return the secrets of *record*; None when it has none, since it is archived. Raises Unavailable."""
    if record.sealed is None:
        return None
    key = await envelope.key_of(record.place, record.sealed.key)
    return OpenSecrets(key, {name: key.open(name, text) for name, text in record.sealed.fields.items()})
