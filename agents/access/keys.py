"""API keys as text: made once, shown once, kept as a digest.

A key is ``sk-hecaton-<id>-<secret>``. The id is no secret: it names the row, so that the database never looks a secret
up, and the digests are compared here, in constant time. The secret is 32 random bytes: no list of likely secrets
exists that a slow hash (bcrypt, Argon2) would make costly to try, so one SHA-256 at rest is as strong as the secret,
and cheap enough for every request. A slow hash would only let strangers burn the gateway's processors.
"""

from __future__ import annotations

import hashlib
import re
import secrets

_RANDOM_BYTES = 32
_PREFIX = "sk-hecaton-"
_KEY = re.compile(r"sk-hecaton-([0-9A-HJKMNP-TV-Z]{26})-[A-Za-z0-9_-]{43}")
_ID_PREFIX = "apikey_"
_HINT_CHARS = 4


def new_api_key(key_id: str) -> str:
    """Return a key for the row *key_id* (``apikey_…``)."""
    return f"{_PREFIX}{key_id.removeprefix(_ID_PREFIX)}-{secrets.token_urlsafe(_RANDOM_BYTES)}"


def id_of(shown: str) -> str | None:
    """Return the id of the row that *shown* names; None when it cannot be a key of the store."""
    found = _KEY.fullmatch(shown)
    return None if found is None else _ID_PREFIX + found[1]


def digest_of(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def hint_of(key: str) -> str:
    """Return what people may see of a key, to know it again: 24 of its 256 random bits."""
    return f"{key[: len(_PREFIX) + 6]}...{key[-_HINT_CHARS:]}"
