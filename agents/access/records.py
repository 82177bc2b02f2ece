"""API keys as they are stored, and the ports to them and to whose objects are whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from agents.access.scopes import KeyScope
from agents.listing import Listing

Owned = Literal[
    "agent", "environment", "session", "vault", "memory_store", "file", "skill", "deployment", "deployment_run"
]
"""Kinds of objects that belong to a workspace; everything else hangs below one of them."""


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """One key of the store. ``digest`` is all that is kept of its secret, ``hint`` what may be shown of it."""

    id: str
    name: str
    workspace_id: str
    scope: KeyScope
    digest: str
    hint: str
    created_by: str
    """Who made it: the principal of the request."""
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""
    revoked_at: datetime | None = None

    @property
    def archived_at(self) -> datetime | None:
        """When it left the list of what is in use, as listings call that."""
        return self.revoked_at

    def is_good(self, now: datetime) -> bool:
        """Whether it opens anything at *now*."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class ApiKeys(Protocol):
    """The keys of a platform. Every call may raise Unavailable. Rows stay for good: they say who had access when."""

    async def insert(self, key: ApiKeyRecord, *, most: int) -> None:
        """Raises Conflict when there are *most* keys that are not revoked."""
        ...

    async def find(self, key_id: str) -> ApiKeyRecord | None: ...

    async def exist(self) -> bool:
        """Whether there has ever been a key."""
        ...

    async def revoke(self, key_id: str, moment: datetime) -> ApiKeyRecord:
        """End a key (idempotent: the first moment stays). Raises NotFound."""
        ...

    async def touch(self, key_id: str, moment: datetime) -> None:
        """Note that it was used; the latest moment stays."""
        ...

    async def list(self, query: Listing) -> Sequence[ApiKeyRecord]:
        """Up to ``limit + 1`` rows; ``include_archived`` is for revoked ones."""
        ...


class Owners(Protocol):
    """Whose objects are whose. May raise Unavailable."""

    async def workspace_of(self, kind: Owned, object_id: str) -> str | None:
        """Return the workspace that an object belongs to; None when there is no such object."""
        ...
