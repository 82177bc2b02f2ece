"""Repositories as resources of a session: the ResourceKind ``github_repository`` (spec A.7).

The token is kept sealed in the resource's ``private`` part, bound to session and resource: the dict is of no use
elsewhere. Whoever copies the repository opens it there and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from agents.catalog import limits
from agents.catalog.resources import ResourceOwner, StoredResource, new_resource_id, stored_resource
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.hands.port import Mount
from agents.repositories.source import RepositorySource, mount_path_of, source_of
from agents.vaults.auth_config import is_token
from agents.vaults.envelope import Envelope, Place
from agents.vaults.resource_tokens import kept_token, sealed_in
from agents.vaults.secrets import sealed_anew

TOKEN_CHARS = 8192  # ours
_FIELD = "authorization_token"


class RepositoryResources:
    """The ResourceKind of repositories."""

    most = 20  # ours: each is a copy at the start of the sandbox
    self_hosted = False
    addable = False

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    async def attach(self, where: str, given: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """See ResourceKind.attach."""
        prefix = f"{where}." if where else ""
        source = source_of(prefix, given)
        path = mount_path_of(prefix, given.get("mount_path"), source)
        resource_id, now = new_resource_id(), rfc3339(owner.now)
        private = None
        if given.get(_FIELD):
            private = await self._sealed(prefix, given[_FIELD], Place(owner.session_id, resource_id))
        wire = {
            "id": resource_id,
            "type": "github_repository",
            "url": source.url,
            "checkout": source.checkout(),
            "mount_path": path,
            "created_at": now,
            "updated_at": now,
        }
        return stored_resource(wire, mount=_mount(wire), private=private)

    async def detach(self, stored: StoredResource) -> None:
        """See ResourceKind.detach: nothing is kept beside the dict."""

    async def changed(self, stored: StoredResource, change: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """See ResourceKind.changed: another token. Also raises Unavailable."""
        private = await self._sealed("", change[_FIELD], Place(owner.session_id, stored["id"]))
        wire = {**stored["wire"], "updated_at": rfc3339(owner.now)}
        return stored_resource(wire, mount=_mount(wire), private=private)

    async def _sealed(self, prefix: str, token: str, place: Place) -> dict[str, Any]:
        limits.check_length(f"{prefix}{_FIELD}", token, TOKEN_CHARS, shortest=1)
        if not is_token(token):
            raise InvalidRequest(f"{prefix}{_FIELD}: must be visible ASCII characters without spaces")
        return kept_token(await sealed_anew(self._envelope, place, {_FIELD: SecretStr(token)}))


def _mount(wire: Mapping[str, Any]) -> Mount:
    # By its name another token makes another mount: hosts try it at once.
    return Mount("repository", wire["id"], wire["mount_path"], read_only=False, name=wire["updated_at"])


def source_in(stored: StoredResource) -> RepositorySource:
    """Return what a stored resource is a copy of."""
    return source_of("", stored["wire"])


async def token_in(stored: StoredResource, session_id: str, envelope: Envelope) -> SecretStr | None:
    """Return the token of a stored resource of that session; None when it has none. Raises Unavailable."""
    private: Mapping[str, Any] | None = stored.get("private")
    if private is None:
        return None
    sealed = sealed_in(private)
    key = await envelope.key_of(Place(session_id, stored["id"]), sealed.key)
    return key.open(_FIELD, sealed.fields[_FIELD])
