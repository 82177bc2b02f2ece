"""What is kept of workers elsewhere: keys of environments, and items of work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class EnvironmentKeyRecord:
    """A worker host's key to one environment. The key itself is not kept."""

    id: str
    environment_id: str
    name: str
    digest: str
    created_by: str
    """Name of the API key that made it."""
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def archived_at(self) -> datetime | None:
        """When listings that leave out what is over leave it out."""
        return self.revoked_at


class WorkState(StrEnum):
    """Where an item of work is (spec A.3): one that was polled but not acknowledged is still queued."""

    QUEUED = "queued"
    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One session's place in the queue of its environment."""

    id: str
    environment_id: str
    session_id: str
    created_at: datetime
    available_at: datetime
    """It is handed out from then on: an item whose worker keeps giving up waits longer each time."""
    state: WorkState = WorkState.QUEUED
    attempt: int = 0
    """Items of the session before this one whose workers gave up early, in a row."""
    claimed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    started_at: datetime | None = None
    latest_heartbeat_at: datetime | None = None
    previous_heartbeat_at: datetime | None = None
    """The one before, which a worker shows again when it has not heard of the latest."""
    ttl_seconds: int | None = None
    lease_until: datetime | None = None
    """When the worker is taken for lost; None while no worker has acknowledged the item."""
    stop_requested_at: datetime | None = None
    stop_seq: int | None = None
    """Where the session's log stood when a stop was asked for."""
    stopped_at: datetime | None = None
    tokens: tuple[str, ...] = ()
    """Digests of the tokens that claims of the item got, the newest last: only that one is good."""
    metadata: Mapping[str, str] = field(default_factory=lambda: {})

    @property
    def archived_at(self) -> datetime | None:
        """When listings that leave out what is over leave it out."""
        return self.stopped_at


@dataclass(frozen=True, slots=True)
class SessionStanding:
    """What a stop must know of the item's session, read under the same lock as the session's commits."""

    seq: int
    wants_worker: bool
    """Whether it runs, waits for a tool result or has input waiting."""


@dataclass(slots=True)
class WorkCounts:
    """What one process has seen of the queues since it started."""

    claims: int = 0
    claim_seconds: float = 0.0
    """From when an item could be had to its claim, over all claims."""
    leases_lost: int = 0
    """Items that were claimed because their worker had gone silent."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How an environment's queue stands."""

    depth: int
    pending: int
    oldest_queued_at: datetime | None
    workers_polling: int
