"""The sessions of deployments: made by the same rules as those that clients make, for whoever made the deployment."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any, TypeVar, cast

from anthropic.types.beta import SessionCreateParams

from agents.access.scopes import KeyScope
from agents.api.auth import Access
from agents.api.client_events import checked_initial_events
from agents.api.platform import Platform
from agents.api.resource_kinds import resources_of
from agents.api.rubrics import Rubrics
from agents.api.sessions import SessionRoutes
from agents.api.vaults import own_vault
from agents.deployments.config import EVENT_TYPES
from agents.deployments.failures import RunErrorType, RunFailed
from agents.deployments.records import DeploymentRecord, Reservation
from agents.deployments.resources import DeploymentResources, shown
from agents.deployments.runs import DeploymentRuns
from agents.deployments.scheduler import DeploymentScheduler
from agents.errors import NotFound
from agents.files.references import FileReferences
from agents.ids import SessionId
from agents.sessions.events import SessionRecord
from agents.store.ports import EnvironmentRecord
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys

T = TypeVar("T")


class DeployedSessions:
    """The SessionMaking of a gateway."""

    def __init__(self, platform: Platform) -> None:
        self._store = platform.store
        kinds = resources_of(platform)
        self._sessions = SessionRoutes(platform, kinds)
        self._files = platform.files
        self._resources = DeploymentResources(kinds, Envelope(master_keys(platform.settings)))
        self._references = FileReferences(platform.store.files, platform.clock)
        self._rubrics = Rubrics(platform.files)

    def reserve(self, now: datetime) -> Reservation:
        """See SessionMaking.reserve."""
        return self._sessions.reserve(now)

    async def create(self, deployment: DeploymentRecord, reservation: Reservation) -> SessionRecord:
        """See SessionMaking.create."""
        body = deployment.body
        access = Access(deployment.principal, deployment.workspace_id, KeyScope.DEVELOPER)
        await self._check(body, access)
        params: dict[str, Any] = {
            "agent": body["agent"],
            "environment_id": body["environment_id"],
            "resources": await self._resources.given(deployment.id, body["resources"]),
            "vault_ids": body["vault_ids"],
            **({} if body["budget"] is None else {"budget": body["budget"]}),
        }
        # Before the session: a file that is gone leaves nothing behind.
        events = checked_initial_events(body["initial_events"], EVENT_TYPES)
        events = await self._rubrics.resolved(events, deployment.workspace_id, where="initial_events")
        record = await self._sessions.new_record(
            cast("SessionCreateParams", params), access, reservation, deployment_id=deployment.id
        )
        return await self._sessions.store(record, events)

    async def find(self, session_id: SessionId) -> SessionRecord:
        """See SessionMaking.find."""
        return await self._store.sessions.get(session_id)

    async def _check(self, body: dict[str, Any], access: Access) -> None:
        """Raise RunFailed for what is gone: the checks of new sessions do not tell what it was."""
        wanted = self._store.environments.get(body["environment_id"])
        environment: EnvironmentRecord = await _found(wanted, "environment_not_found_error")
        for vault_id in body["vault_ids"]:
            await _found(own_vault(self._store.vaults, vault_id, access), "vault_not_found_error")
        wanted_resources = shown(body["resources"])
        self_hosted = environment.body["config"]["type"] == "self_hosted"
        if self_hosted and any(resource["type"] != "memory_store" for resource in wanted_resources):
            raise RunFailed(
                "self_hosted_resources_unsupported_error",
                f"environment {environment.id} is self-hosted: only memory stores can be mounted there",
            )
        referred = self._references.check("initial_events", body["initial_events"], access.workspace_id)
        await _found(referred, "file_not_found_error")
        for resource in wanted_resources:
            if resource["type"] == "file":
                await _found(self._files.usable(resource["file_id"], access.workspace_id), "file_not_found_error")
            elif resource["type"] == "memory_store":
                await _found(self._store.memory.get(resource["memory_store_id"]), "session_resource_not_found_error")


async def _found(wanted: Awaitable[T], otherwise: RunErrorType) -> T:
    try:
        return await wanted
    except NotFound as error:
        raise RunFailed(otherwise, error.message) from None


def runs_of(platform: Platform) -> DeploymentRuns:
    """Return what runs the deployments of *platform*."""
    settings, recorder = platform.settings.deployments, platform.recorder
    making = DeployedSessions(platform)
    return DeploymentRuns(platform.store.deployments, making, platform.clock, settings, recorder)


def scheduler_of(platform: Platform) -> DeploymentScheduler:
    """Return what fires the schedules of *platform*; each process that serves it has one."""
    settings = platform.settings.deployments
    return DeploymentScheduler(platform.store.deployments, runs_of(platform), platform.clock, settings)
