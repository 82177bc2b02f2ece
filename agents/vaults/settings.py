"""Settings of the vaults, and what a master key looks like.

A key's id is made of the key itself, so that nobody has to name keys, and a wrong one is told at once.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode

from pydantic import Field, SecretStr, field_validator, model_validator

from agents.settings_base import AbsolutePath, Section

KEY_BYTES = 32


def key_id(key: bytes) -> str:
    """Return the id of a master key; nothing of the key can be learnt from it."""
    return "mk_" + hashlib.sha256(b"hecaton master key" + key).hexdigest()[:16]


def parsed_keys(text: str) -> dict[str, bytes]:
    """Return the keys of *text*, base64 each, between commas or white space. Raises ValueError, which shows none."""
    keys: dict[str, bytes] = {}
    for number, word in enumerate(text.replace(",", " ").split(), 1):
        try:
            key = b64decode(word, validate=True)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(f"key {number} is not {KEY_BYTES} bytes as base64; make one by: openssl rand -base64 32")
        keys[key_id(key)] = key
    if not keys:
        raise ValueError("there is no key; make one by: openssl rand -base64 32")
    return keys


class VaultSettings(Section):
    """What seals the secrets of vaults (docs/vaults.md, "The master key"); at most one of the three is set."""

    master_key: SecretStr | None = None
    """32 bytes as base64; after a comma older keys, which only open what they sealed."""
    master_key_file: AbsolutePath | None = None
    """A file with such keys, one per line, the current one first, that only its owner may read;
    ``<data-dir>/master.key`` when nothing is set, which is made when the first secret comes (SQLite only)."""
    key_service: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """``module:function`` that returns the client of a key management service."""
    token_timeout_seconds: float = Field(default=10.0, gt=0, le=20)
    """Longest wait for an OAuth token endpoint, and for an MCP server that a credential is tried at."""

    @field_validator("master_key")
    @classmethod
    def _is_key(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            parsed_keys(given.get_secret_value())
        return given

    @model_validator(mode="after")
    def _one_source(self) -> VaultSettings:
        if sum(each is not None for each in (self.master_key, self.master_key_file, self.key_service)) > 1:
            raise ValueError("only one of master_key, master_key_file and key_service may be set")
        return self
