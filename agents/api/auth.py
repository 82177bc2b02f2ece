"""Who calls: found by the API key that came as a bearer token or as ``x-api-key`` (spec section 0)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.types import Scope

from agents.access.key_book import KeyBook
from agents.access.scopes import KeyScope
from agents.access.workspaces import DEFAULT_WORKSPACE, principal_of
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


@dataclass(frozen=True, slots=True)
class Access:
    """Who calls, and what that opens. ``key_id`` is set for keys of the store, which may be revoked meanwhile."""

    principal: str
    workspace_id: str
    scope: KeyScope
    key_id: str | None = None


_OPEN = Access("", DEFAULT_WORKSPACE, KeyScope.ADMIN)
"""Everybody, on open paths and on a server without keys."""


class Keyring:
    """The API keys: those of the settings, by name, and those of the store. Without any, every caller is let in.

    A key of the settings is the operator's own: it has the scope admin, in the default workspace.
    """

    def __init__(self, keys: Mapping[str, SecretStr], book: KeyBook) -> None:
        self._keys = {name: key.get_secret_value().encode() for name, key in keys.items()}
        self._book = book

    async def admit(self, scope: Scope) -> Access:
        """Return who calls: nobody by name on open paths and where there are no keys.

        Raises AuthenticationFailed, Unavailable, and where there are no keys PermissionDenied for web pages.
        """
        if scope["path"] in OPEN_PATHS:
            return _OPEN
        candidates = _candidates(scope)
        # Every candidate is compared with every key, and in constant time, so that timing tells nothing of them.
        matches = [name for name, key in self._keys.items() for shown in candidates if hmac.compare_digest(shown, key)]
        if matches:
            return Access(matches[0], DEFAULT_WORKSPACE, KeyScope.ADMIN)
        for shown in candidates:
            key = await self._book.find(shown.decode("latin-1"))
            if key is not None:
                return Access(principal_of(key.workspace_id), key.workspace_id, key.scope, key.id)
        if not self._keys and not await self._book.exist():
            refuse_pages(scope)
            return _OPEN
        if not candidates:
            raise AuthenticationFailed("an API key is required: send Authorization: Bearer <key> or x-api-key: <key>")
        raise AuthenticationFailed("the API key is not valid")


def caller_digest(scope: Scope) -> bytes:
    """Return a digest that is equal for requests with the same key."""
    digest = hashlib.blake2b(digest_size=16)
    for candidate in _candidates(scope):
        digest.update(candidate)
    return digest.digest()
