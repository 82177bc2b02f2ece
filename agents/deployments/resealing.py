"""Changing the master key: the tokens of deployments' resources go along with the secrets of vaults (ADR 0027)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

from agents.deployments.records import DeploymentListing, DeploymentRecord, DeploymentRepository
from agents.vaults import resource_tokens
from agents.vaults.envelope import Envelope
from agents.vaults.resource_tokens import Holder, Kept

_PORTION = 100


async def reseal(deployments: DeploymentRepository, envelope: Envelope) -> tuple[str, ...]:
    """Wrap every data key by the current master key; returns the deployments whose own key is not there.

    Raises Unavailable; what was done by then stays done.
    """

    async def exchange(holder: Holder, resources: list[Kept]) -> None:
        def change(stored: DeploymentRecord) -> DeploymentRecord:
            # Whoever has replaced them meanwhile has sealed them by the current key.
            same = stored.body["resources"] == holder.resources
            return replace(stored, body={**stored.body, "resources": resources}) if same else stored

        await deployments.change(holder.id, change)

    return await resource_tokens.reseal(_holders(deployments), exchange, envelope)


async def _holders(deployments: DeploymentRepository) -> AsyncGenerator[Holder]:
    query = DeploymentListing(limit=_PORTION, order="asc", include_archived=True)
    while True:
        rows = (await deployments.list(query))[:_PORTION]
        for each in rows:
            yield Holder(each.id, each.body["resources"])
        if len(rows) < _PORTION:
            return
        query = replace(query, after=(rows[-1].created_at, rows[-1].id))
