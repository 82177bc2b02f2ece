"""Deployments and their runs on a database.

Whoever fires a deployment, or settles a run of it, holds the deployment's row first, and the run's after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from agents.deployments.records import Change, DeploymentListing, DeploymentRecord, RunListing, RunRecord
from agents.store.announcing import announce, announce_all
from agents.store.audit_writing import add_entries
from agents.store.codec import findable, micros
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
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.paging import page
from agents.store.tables import deployment_runs, deployments

_DEPLOYMENT, _RUN = deployments.c, deployment_runs.c
_SCHEDULED = select(func.count()).where(_DEPLOYMENT.scheduled == 1)
_NEW_RUN = insert_new(deployment_runs)


class SqlDeployments:
    """The DeploymentRepository of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, deployment: DeploymentRecord, *, most: int) -> None:
        """See DeploymentRepository.insert."""

        def work(connection: Connection) -> None:
            if is_scheduled(deployment):
                check_schedules(connection.execute(_SCHEDULED).scalar_one(), most)
            connection.execute(insert(deployments), deployment_row(deployment)).close()
            announce(connection, deployment_created(deployment))

        await self._database.write(work)

    async def get(self, deployment_id: str) -> DeploymentRecord:
        """See DeploymentRepository.get."""
        return await self._database.read(lambda connection: _deployment(connection, deployment_id))

    async def change(self, deployment_id: str, change: Change, *, most: int | None = None) -> DeploymentRecord:
        """See DeploymentRepository.change."""

        def work(connection: Connection) -> DeploymentRecord:
            stored = _deployment(connection, deployment_id, lock=True)
            changed = kept_deployment(stored, change(stored))
            if most is not None and is_scheduled(changed) and not is_scheduled(stored):
                check_schedules(connection.execute(_SCHEDULED).scalar_one(), most)
            _store(connection, stored, changed)
            announce_all(connection, deployment_news(stored, changed, changed.updated_at))
            return changed

        return await self._database.write(work)

    async def list(self, query: DeploymentListing) -> Sequence[DeploymentRecord]:
        """See DeploymentRepository.list."""
        columns = _DEPLOYMENT
        wanted = select(deployments)
        if query.agent_id is not None:
            if not findable(query.agent_id):
                return []
            wanted = wanted.where(columns.agent_id == query.agent_id)
        if query.status is not None:
            paused = columns.paused_reason.is_not(None) & columns.archived_at.is_(None)
            wanted = wanted.where(paused if query.status == "paused" else ~paused)
        statement = page(
            wanted, columns.created_at, columns.id, columns.archived_at, query, workspace=columns.workspace_id
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [deployment_of(row) for row in rows]

    async def due(self, now: datetime, limit: int) -> Sequence[DeploymentRecord]:
        """See DeploymentRepository.due."""
        statement = select(deployments).where(_DEPLOYMENT.due_at <= micros(now))
        statement = statement.order_by(_DEPLOYMENT.due_at, _DEPLOYMENT.id).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [deployment_of(row) for row in rows]

    async def begin(self, run: RunRecord) -> None:
        """See DeploymentRepository.begin."""
        row = run_row(run)

        def work(connection: Connection) -> None:
            connection.execute(insert(deployment_runs), row).close()
            announce(connection, run_started(run))

        await self._database.write(work)

    async def fire(self, seen: DeploymentRecord, change: Change, run: RunRecord | None) -> bool:
        """See DeploymentRepository.fire."""

        def work(connection: Connection) -> bool:
            stored = _deployment(connection, seen.id, lock=True)
            if not as_seen(stored, seen):
                return False
            _store(connection, stored, kept_deployment(stored, change(stored)))
            if run is None:
                return True
            # There is one already when the schedule was replaced, and put back, after it had fired.
            new = _NEW_RUN[connection.dialect.name].values(run_row(run))
            if connection.execute(new).rowcount != 1:
                return False
            announce(connection, run_started(run))
            return True

        return await self._database.write(work)

    async def take_open(self, now: datetime, until: datetime, limit: int) -> Sequence[RunRecord]:
        """See DeploymentRepository.take_open."""
        left = select(deployment_runs).where(_RUN.taken_until <= micros(now)).order_by(_RUN.taken_until).limit(limit)
        # Looking must not cost others the lock of a writer.
        if not await self._database.read(lambda connection: connection.execute(left).mappings().all()):
            return []

        def work(connection: Connection) -> list[RunRecord]:
            rows = connection.execute(left.with_for_update(skip_locked=True)).mappings().all()
            taken = update(deployment_runs).where(_RUN.id.in_([row["id"] for row in rows]))
            connection.execute(taken.values(taken_until=micros(until)))
            return [run_of({**row, "taken_until": micros(until)}) for row in rows]

        return await self._database.write(work)

    async def settle(self, run: RunRecord, change: Change) -> bool:
        """See DeploymentRepository.settle."""
        row = run_row(run)
        end = update(deployment_runs).where(_RUN.id == run.id, _RUN.taken_until.is_not(None)).values(row)

        def work(connection: Connection) -> bool:
            stored = _deployment(connection, run.deployment_id, lock=True)
            if not connection.execute(end).rowcount:
                return False
            changed = kept_deployment(stored, change(stored))
            _store(connection, stored, changed)
            announce_all(connection, [run_ended(run), *deployment_news(stored, changed, run.created_at)])
            # The trail is locked last, and by few.
            entry = pause_entry(stored, changed, run)
            if entry is not None:
                add_entries(connection, [entry])
            return True

        return await self._database.write(work)

    async def remove_old_runs(self, before: datetime, limit: int) -> int:
        """See DeploymentRepository.remove_old_runs."""
        # By id, which is by age and has an index.
        oldest = select(deployment_runs).order_by(_RUN.id).limit(limit).subquery().c
        old = select(oldest.id).where(oldest.taken_until.is_(None), oldest.created_at < micros(before))
        # Looking must not cost others the lock of a writer.
        found = await self._database.read(lambda connection: connection.execute(old).scalars().all())
        if not found:
            return 0
        gone = delete(deployment_runs).where(_RUN.id.in_(old))
        return await self._database.write(lambda connection: connection.execute(gone).rowcount)

    async def get_run(self, run_id: str) -> RunRecord:
        """See DeploymentRepository.get_run."""
        if not findable(run_id):
            raise no_run(run_id)
        statement = select(deployment_runs).where(_RUN.id == run_id, _RUN.taken_until.is_(None))
        row = await self._database.read(lambda connection: connection.execute(statement).mappings().first())
        if row is None:
            raise no_run(run_id)
        return run_of(row)

    async def list_runs(self, query: RunListing) -> Sequence[RunRecord]:
        """See DeploymentRepository.list_runs."""
        wanted = select(deployment_runs).where(_RUN.taken_until.is_(None))
        if query.deployment_id is not None:
            if not findable(query.deployment_id):
                return []
            wanted = wanted.where(_RUN.deployment_id == query.deployment_id)
        if query.has_error is not None:
            wanted = wanted.where(_RUN.error.is_not(None) if query.has_error else _RUN.error.is_(None))
        if query.trigger is not None:
            wanted = wanted.where(_RUN.trigger_type == query.trigger)
        # Runs are never archived, and the query asks for all: the column is not looked at.
        statement = page(wanted, _RUN.created_at, _RUN.id, _RUN.created_at, query, workspace=_RUN.workspace_id)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [run_of(row) for row in rows]


def _deployment(connection: Connection, deployment_id: str, *, lock: bool = False) -> DeploymentRecord:
    row = None
    if findable(deployment_id):
        statement = select(deployments).where(_DEPLOYMENT.id == deployment_id)
        row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if row is None:
        raise no_deployment(deployment_id)
    return deployment_of(row)


def _store(connection: Connection, stored: DeploymentRecord, changed: DeploymentRecord) -> None:
    if changed != stored:
        row = deployment_row(changed)
        connection.execute(update(deployments).where(_DEPLOYMENT.id == stored.id).values(row)).close()
