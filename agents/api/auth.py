"""Who calls: the name of the API key that came as a bearer token or as ``x-api-key`` (spec section 0)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from pydantic import SecretStr
from starlette.types import Scope

from agents.api.pages import refuse_pages
from agents.errors import AuthenticationFailed
from agents.workers.credentials import is_workers

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


def workers_credential(scope: Scope) -> str | None:
    """Return the credential of a worker that the request carries, good or not; None when it comes with another."""
    if scope["path"] in OPEN_PATHS:
        return None
    # Undecodable bytes are no credential of ours, and so none of a worker's.
    shown = (each.decode("latin-1") for each in _candidates(scope))
    return next((each for each in shown if is_workers(each)), None)


class Keyring:
    """The API keys by name; an empty one accepts any key, or none."""

    def __init__(self, keys: Mapping[str, SecretStr]) -> None:
        self._keys = {name: key.get_secret_value().encode() for name, key in keys.items()}

    def principal(self, scope: Scope) -> str:
        """Return the name of the key that the request carries: empty on open paths and without configured keys.

        Raises AuthenticationFailed, and without configured keys PermissionDenied for web pages.
        """
        if scope["path"] in OPEN_PATHS:
            return ""
        if not self._keys:
            refuse_pages(scope)
            return ""
        candidates = _candidates(scope)
        if not candidates:
            raise AuthenticationFailed("an API key is required: send Authorization: Bearer <key> or x-api-key: <key>")
        # Every candidate is compared with every key, and in constant time, so that timing tells nothing of them.
        matches = [name for name, key in self._keys.items() for shown in candidates if hmac.compare_digest(shown, key)]
        if not matches:
            raise AuthenticationFailed("the API key is not valid")
        return matches[0]


def caller_digest(scope: Scope) -> bytes:
    """Return a digest that is equal for requests with the same key."""
    digest = hashlib.blake2b(digest_size=16)
    for candidate in _candidates(scope):
        digest.update(candidate)
    return digest.digest()
