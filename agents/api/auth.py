"""Who may call: one API key, sent as a bearer token or as ``x-api-key`` (spec section 0)."""

from __future__ import annotations

import hashlib
import hmac

from pydantic import SecretStr
from starlette.types import Scope

from agents.errors import AuthenticationFailed

OPEN_PATHS = frozenset({"/metrics", "/-/healthz", "/-/readyz", "/openapi.json"})
"""Paths for the platform's own tools, which carry no key; they show nothing of any session."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return a request header, or None."""
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


def _candidates(scope: Scope) -> list[bytes]:
    found: list[bytes] = []
    bearer = header(scope, b"authorization")
    if bearer is not None:
        kind, _, token = bearer.partition(b" ")
        if kind.lower() == b"bearer":
            found.append(token.strip())
    key = header(scope, b"x-api-key")
    if key is not None:
        found.append(key.strip())
    return found


def check_key(scope: Scope, expected: SecretStr | None) -> None:
    """Raise AuthenticationFailed unless the request carries *expected* (None accepts any or no key)."""
    if expected is None or scope["path"] in OPEN_PATHS:
        return
    wanted = expected.get_secret_value().encode()
    candidates = _candidates(scope)
    if not candidates:
        raise AuthenticationFailed("an API key is required: send Authorization: Bearer <key> or x-api-key: <key>")
    # Every candidate is compared, and in constant time, so that timing tells nothing of the key.
    matches = [hmac.compare_digest(candidate, wanted) for candidate in candidates]
    if not any(matches):
        raise AuthenticationFailed("the API key is not valid")


def caller_digest(scope: Scope) -> bytes:
    """Return a digest that is equal for requests with the same key."""
    digest = hashlib.blake2b(digest_size=16)
    for candidate in _candidates(scope):
        digest.update(candidate)
    return digest.digest()
