"""Envelope encryption: a data key per credential, wrapped by a master key (ADR 0027).

AES-256-GCM throughout. What a ciphertext belongs to is its associated data: a wrapped data key fits one credential of
one vault, a sealed secret one field of it, so that rows or fields that change places cannot be opened. The master key
never touches a secret: to change it, only the data keys are wrapped anew.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from agents.errors import Unavailable
from agents.vaults.settings import KEY_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12  # what GCM is made for; random ones are safe for 2**32 messages of a key (NIST SP 800-38D)


class KeyUnavailable(Unavailable):
    """The master key that a secret is sealed under is not here, or does not fit, or its service does not answer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where secrets belong: what their ciphertexts are bound to."""

    vault_id: str
    credential_id: str

    @property
    def context(self) -> bytes:
        return f"hecaton/1/{self.vault_id}/{self.credential_id}".encode()


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored: ``text`` is base64, ``master_key`` the id of what it is wrapped by."""

    master_key: str
    text: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """The secrets of one credential as they are stored: ciphertexts (base64) by the names of their fields."""

    key: WrappedKey
    fields: Mapping[str, str] = field(default_factory=lambda: {})


class MasterKeys(Protocol):
    """What wraps data keys: keys of our own, or a key management service (docs/vaults.md, "A key service")."""

    async def current(self) -> str:
        """Return the id of the key that new data keys are wrapped by. Raises Unavailable."""
        ...

    async def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        """Wrap by the current key, bound to *context*; returns its id with the result. Raises Unavailable."""
        ...

    async def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key. Raises KeyUnavailable for a key that is not there, or does not fit."""
        ...


class DataKey:
    """The key that the secrets of one credential are sealed by; it lives as long as the call that needs it."""

    __slots__ = ("_aead", "_context")

    def __init__(self, key: bytes, place: Place) -> None:
        self._aead = cipher(key)
        self._context = place.context

    def seal(self, name: str, secret: SecretStr) -> str:
        """Return the ciphertext of the field *name*, other each time."""
        return _text(encrypt(self._aead, secret.get_secret_value().encode(), self._bound_to(name)))

    def open(self, name: str, sealed: str) -> SecretStr:
        """Return the secret of the field *name*. Raises KeyUnavailable when it is not what was sealed there."""
        return SecretStr(decrypt(self._aead, b64decode(sealed), self._bound_to(name)).decode())

    def _bound_to(self, name: str) -> bytes:
        return self._context + b"/" + name.encode()


class Envelope:
    """Makes and opens data keys."""

    def __init__(self, keys: MasterKeys) -> None:
        self._keys = keys

    async def current(self) -> str:
        """See MasterKeys.current."""
        return await self._keys.current()

    async def new_key(self, place: Place) -> tuple[DataKey, WrappedKey]:
        """Return a fresh data key, and how to store it. Raises Unavailable."""
        raw = os.urandom(KEY_BYTES)
        return DataKey(raw, place), await self._wrapped(raw, place)

    async def key_of(self, place: Place, wrapped: WrappedKey) -> DataKey:
        """Return the data key that is stored at *place*. Raises Unavailable."""
        return DataKey(await self._raw(place, wrapped), place)

    async def rewrapped(self, place: Place, wrapped: WrappedKey) -> WrappedKey:
        """Return the same data key, wrapped by the current master key. Raises Unavailable."""
        return await self._wrapped(await self._raw(place, wrapped), place)

    async def _wrapped(self, raw: bytes, place: Place) -> WrappedKey:
        master_key, text = await self._keys.wrap(raw, place.context)
        return WrappedKey(master_key, _text(text))

    async def _raw(self, place: Place, wrapped: WrappedKey) -> bytes:
        raw = await self._keys.unwrap(wrapped.master_key, b64decode(wrapped.text), place.context)
        if len(raw) != KEY_BYTES:
            raise KeyUnavailable(f"master key {wrapped.master_key} gives no data key of {KEY_BYTES} bytes")
        return raw


def cipher(key: bytes) -> AESGCM:
    """Return AES-256-GCM under *key*."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # loaded by those who meet a secret

    return AESGCM(key)


def encrypt(aead: AESGCM, plain: bytes, bound_to: bytes) -> bytes:
    """Return nonce and ciphertext."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + aead.encrypt(nonce, plain, bound_to)


def decrypt(aead: AESGCM, sealed: bytes, bound_to: bytes) -> bytes:
    """Undo ``encrypt``. Raises KeyUnavailable for another key, another place, or changed bytes."""
    from cryptography.exceptions import InvalidTag

    try:
        return aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        raise KeyUnavailable("what is stored was not sealed by this key, for this place") from None


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()
