"""Deployments and their runs as they are stored, and the port to them.

A run that is *open* is an intent: it was written in the transaction that moved its deployment to the next occurrence,
and names the session that is to be made, before anybody made it. Whoever goes on with it after a crash makes that very
session or finds it made. Clients see a run once it is settled: a session, or the error in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.listing import Listing

Status = Literal["active", "paused"]
Trigger = Literal["schedule", "manual"]


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """One deployment.

    ``body`` holds name, description, agent (id and version), environment_id, initial_events, resources, vault_ids,
    metadata, budget and schedule (expression, timezone; or None). ``next_at`` is the occurrence that fires next, and
    ``due_at`` when, its jitter included; both are None for one that does not fire.
    """

    id: str
    principal: str
    body: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None
    paused_reason: dict[str, Any] | None = None
    next_at: datetime | None = None
    due_at: datetime | None = None
    last_run_at: datetime | None = None
    workspace_id: str = DEFAULT_WORKSPACE

    @property
    def status(self) -> Status:
        """As clients see it: an archived one is ``active`` (field text of the SDK)."""
        return "active" if self.paused_reason is None or self.archived_at is not None else "paused"

    @property
    def fires(self) -> bool:
        """Whether its schedule, if it has one, is in force."""
        return self.paused_reason is None and self.archived_at is None

    @property
    def agent_id(self) -> str:
        return self.body["agent"]["id"]


@dataclass(frozen=True, slots=True)
class Reservation:
    """The session that a run is to make: what decides which one it is."""

    session_id: str
    partition: int
    topology: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. While it is open, ``created_at`` is when it began, and afterwards when it was settled."""

    id: str
    deployment_id: str
    agent: dict[str, Any]
    trigger: Trigger
    reservation: Reservation
    created_at: datetime
    scheduled_at: datetime | None = None
    session_id: str | None = None
    error: dict[str, Any] | None = None
    taken_until: datetime | None = None
    """Set while the run is open: until then it is somebody's, afterwards anybody's."""
    workspace_id: str = DEFAULT_WORKSPACE

    @property
    def open(self) -> bool:
        return self.session_id is None and self.error is None

    @property
    def archived_at(self) -> datetime | None:
        """Runs are never archived; listings ask."""
        return None


@dataclass(frozen=True, slots=True)
class DeploymentListing(Listing):
    """A page of deployments, with the filters of GET /v1/deployments."""

    agent_id: str | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class RunListing(Listing):
    """A page of settled runs, with the filters of GET /v1/deployment_runs."""

    deployment_id: str | None = None
    has_error: bool | None = None
    trigger: Trigger | None = None


Change = Callable[[DeploymentRecord], DeploymentRecord]
"""Returns a deployment as it is to be. It runs inside a transaction, perhaps more than once: it is quick and pure."""


class DeploymentRepository(Protocol):
    """Deployments and runs. Every call may raise Unavailable."""

    async def insert(self, deployment: DeploymentRecord, *, most: int) -> None:
        """Raises InvalidRequest when it has a schedule and *most* live deployments of the platform have one already."""
        ...

    async def get(self, deployment_id: str) -> DeploymentRecord:
        """Raises NotFound."""
        ...

    async def change(self, deployment_id: str, change: Change, *, most: int | None = None) -> DeploymentRecord:
        """Replace a deployment by what *change* makes of it, alone; id, owner and time of creation stay.

        *most* is as with ``insert``, for one that gets a schedule. Raises NotFound, and what *change* raises.
        """
        ...

    async def list(self, query: DeploymentListing) -> Sequence[DeploymentRecord]:
        """Up to ``limit + 1`` rows."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[DeploymentRecord]:
        """Return deployments whose ``due_at`` has come, the longest waiting first."""
        ...

    async def begin(self, run: RunRecord) -> None:
        """Store a manual run, open."""
        ...

    async def fire(self, seen: DeploymentRecord, change: Change, run: RunRecord | None) -> bool:
        """Move a deployment on by *change* and store its *run*, open, unless it is no longer as it was *seen*.

        Of several that fire one occurrence one is answered True, and there is one run. Without a *run* the deployment
        only moves on.
        """
        ...

    async def take_open(self, now: datetime, until: datetime, limit: int) -> Sequence[RunRecord]:
        """Take open runs that nobody has any more; nobody else gets them before *until*."""
        ...

    async def settle(self, run: RunRecord, change: Change) -> bool:
        """Store the end of an open run, and its deployment by *change* with it; False when it was settled before."""
        ...

    async def remove_old_runs(self, before: datetime, limit: int) -> int:
        """Remove runs that were settled *before*, among the oldest *limit* ones; returns how many.

        An instant whose run is gone could fire again: *before* lies longer ago than what is made up for.
        """
        ...

    async def get_run(self, run_id: str) -> RunRecord:
        """Return a settled run. Raises NotFound."""
        ...

    async def list_runs(self, query: RunListing) -> Sequence[RunRecord]:
        """Up to ``limit + 1`` settled runs."""
        ...
