"""Deployments and their runs, in one process's memory; nothing between two awaits changes but at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from agents.deployments.records import Change, DeploymentListing, DeploymentRecord, RunListing, RunRecord
from agents.errors import Conflict
from agents.governance.audit.entries import AuditEntry
from agents.store.codec import Row
from agents.store.deployment_news import deployment_created, deployment_news, pause_entry, run_ended, run_started
from agents.store.deployment_rows import (
    as_seen,
    check_schedules,
    deployment_of,
    deployment_row,
    is_scheduled,
    kept_deployment,
    no_deployment,
    no_run,
    run_of,
    run_row,
)
from agents.store.memory_catalog import memory_page
from agents.webhooks.announcing import Announce, silent


def _unrecorded(entry: AuditEntry) -> None:
    del entry


class MemoryDeployments:
    """The DeploymentRepository of one process."""

    def __init__(self, announce: Announce = silent, record: Callable[[AuditEntry], object] = _unrecorded) -> None:
        self._announce = announce
        self._record = record
        self._deployments: dict[str, Row] = {}
        self._runs: dict[str, Row] = {}

    async def insert(self, deployment: DeploymentRecord, *, most: int) -> None:
        if deployment.id in self._deployments:
            raise Conflict(f"deployment {deployment.id} already exists")
        if is_scheduled(deployment):
            check_schedules(self._scheduled(), most)
        self._put(deployment)
        self._announce(deployment_created(deployment))

    async def get(self, deployment_id: str) -> DeploymentRecord:
        return self._get(deployment_id)

    async def change(self, deployment_id: str, change: Change, *, most: int | None = None) -> DeploymentRecord:
        stored = self._get(deployment_id)
        changed = kept_deployment(stored, change(stored))
        if most is not None and is_scheduled(changed) and not is_scheduled(stored):
            check_schedules(self._scheduled(), most)
        self._put(changed)
        self._tell(stored, changed, changed.updated_at)
        return changed

    async def list(self, query: DeploymentListing) -> Sequence[DeploymentRecord]:
        every = map(deployment_of, self._deployments.values())
        wanted = (
            each for each in every if query.agent_id in (None, each.agent_id) and query.status in (None, each.status)
        )
        return memory_page(wanted, query)

    async def due(self, now: datetime, limit: int) -> Sequence[DeploymentRecord]:
        every = map(deployment_of, self._deployments.values())
        waiting = [(each.due_at, each.id, each) for each in every if each.due_at is not None and each.due_at <= now]
        return [each for _, _, each in sorted(waiting, key=lambda place: place[:2])[:limit]]

    async def begin(self, run: RunRecord) -> None:
        if run.id in self._runs:
            raise Conflict(f"deployment_run {run.id} already exists")
        self._runs[run.id] = run_row(run)
        self._announce(run_started(run))

    async def fire(self, seen: DeploymentRecord, change: Change, run: RunRecord | None) -> bool:
        stored = self._get(seen.id)
        if not as_seen(stored, seen):
            return False
        self._put(kept_deployment(stored, change(stored)))
        if run is None:
            return True
        fired = {(each.deployment_id, each.scheduled_at) for each in map(run_of, self._runs.values())}
        if run.scheduled_at is not None and (run.deployment_id, run.scheduled_at) in fired:
            return False
        self._runs[run.id] = run_row(run)
        self._announce(run_started(run))
        return True

    async def take_open(self, now: datetime, until: datetime, limit: int) -> Sequence[RunRecord]:
        every = map(run_of, self._runs.values())
        left = [(each.taken_until, each) for each in every if each.taken_until is not None and each.taken_until <= now]
        taken = [replace(each, taken_until=until) for _, each in sorted(left, key=lambda place: place[0])[:limit]]
        self._runs |= {each.id: run_row(each) for each in taken}
        return taken

    async def settle(self, run: RunRecord, change: Change) -> bool:
        stored = self._get(run.deployment_id)
        row = self._runs.get(run.id)
        if row is None or row["taken_until"] is None:
            return False
        self._runs[run.id] = run_row(run)
        changed = kept_deployment(stored, change(stored))
        self._put(changed)
        self._announce(run_ended(run))
        self._tell(stored, changed, run.created_at)
        entry = pause_entry(stored, changed, run)
        if entry is not None:
            self._record(entry)
        return True

    async def remove_old_runs(self, before: datetime, limit: int) -> int:
        oldest = [run_of(self._runs[run_id]) for run_id in sorted(self._runs)[:limit]]
        old = [run.id for run in oldest if not run.open and run.created_at < before]
        self._runs = {run_id: row for run_id, row in self._runs.items() if run_id not in old}
        return len(old)

    async def get_run(self, run_id: str) -> RunRecord:
        row = self._runs.get(run_id)
        if row is None or row["taken_until"] is not None:
            raise no_run(run_id)
        return run_of(row)

    async def list_runs(self, query: RunListing) -> Sequence[RunRecord]:
        settled = (run_of(row) for row in self._runs.values() if row["taken_until"] is None)
        wanted = (
            each
            for each in settled
            if query.deployment_id in (None, each.deployment_id)
            and query.has_error in (None, each.error is not None)
            and query.trigger in (None, each.trigger)
        )
        return memory_page(wanted, query)

    def _get(self, deployment_id: str) -> DeploymentRecord:
        row = self._deployments.get(deployment_id)
        if row is None:
            raise no_deployment(deployment_id)
        return deployment_of(row)

    def _tell(self, stored: DeploymentRecord, changed: DeploymentRecord, at: datetime) -> None:
        for news in deployment_news(stored, changed, at):
            self._announce(news)

    def _put(self, deployment: DeploymentRecord) -> None:
        self._deployments[deployment.id] = deployment_row(deployment)

    def _scheduled(self) -> int:
        return sum(row["scheduled"] for row in self._deployments.values())
