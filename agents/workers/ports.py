"""Ports to what is kept of workers elsewhere. Every one has a twin in memory that keeps the same rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from agents.listing import Listing
from agents.workers.records import EnvironmentKeyRecord, QueueStats, WorkItem
from agents.workers.rules import Beat


class EnvironmentKeys(Protocol):
    """The keys of self-hosted environments."""

    async def insert(self, key: EnvironmentKeyRecord, *, most: int) -> None:
        """Store a key. Raises Conflict when the environment has *most* good ones."""
        ...

    async def find(self, digest: str) -> EnvironmentKeyRecord | None:
        """Return the key with this digest, revoked or not; None when there is none. Raises Unavailable."""
        ...

    async def revoke(self, environment_id: str, key_id: str) -> EnvironmentKeyRecord:
        """End a key for good; revoking it again changes nothing. Raises NotFound."""
        ...

    async def list(self, environment_id: str, query: Listing) -> Sequence[EnvironmentKeyRecord]:
        """Return up to ``limit + 1`` keys, revoked ones too."""
        ...


class WorkQueue(Protocol):
    """The queues of all environments. Every method raises Unavailable; those that take an item, NotFound."""

    async def claim(self, environment_id: str, *, reclaim_seconds: float) -> tuple[WorkItem, str] | None:
        """Hand out one item that nobody has, or that was handed out but not acknowledged for so long, with its token.

        Of any number of concurrent calls each gets another item.
        """
        ...

    async def waiting(self, environment_ids: Sequence[str]) -> Mapping[str, int]:
        """Count what could be handed out now, by environment; those with nothing are left out."""
        ...

    async def acknowledge(self, environment_id: str, work_id: str, *, lease_seconds: int) -> WorkItem:
        """Take a claimed item out of the queue. Raises as ``rules.acknowledged``."""
        ...

    async def heartbeat(
        self, environment_id: str, work_id: str, *, expected: str | None, ttl_seconds: int, digest: str | None
    ) -> Beat:
        """Extend the lease. Raises HeartbeatRefused."""
        ...

    async def stop(
        self, environment_id: str, work_id: str, *, force: bool, by_worker: bool, digest: str | None = None
    ) -> WorkItem:
        """End an item or ask its worker to, and queue a successor when work is left: see ``rules.stopped``."""
        ...

    async def get(self, environment_id: str, work_id: str) -> WorkItem: ...

    async def find(self, work_id: str) -> WorkItem | None:
        """Return the item as it is stored, whatever its environment."""
        ...

    async def change_metadata(
        self, environment_id: str, work_id: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> WorkItem:
        """Replace an item's metadata by what *change* makes of it. Raises what *change* raises."""
        ...

    async def list(self, environment_id: str, query: Listing) -> Sequence[WorkItem]:
        """Return up to ``limit + 1`` items, newest first."""
        ...

    async def seen(self, environment_id: str, worker_id: str) -> None:
        """Take note that a worker has polled."""
        ...

    async def stats(self, environment_id: str) -> QueueStats: ...

    async def figures(self) -> Mapping[str, float]:
        """Return what metrics tell of all queues together, and of what this process has seen of them."""
        ...
