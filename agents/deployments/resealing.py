"""Changing the master key: the tokens of deployments' resources go along with the secrets of vaults (ADR 0027)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agents.deployments.records import DeploymentListing, DeploymentRecord, DeploymentRepository
from agents.deployments.resources import Kept, rewrapped
from agents.vaults.envelope import Envelope, KeyUnavailable

_PORTION = 100


async def reseal(deployments: DeploymentRepository, envelope: Envelope) -> tuple[str, ...]:
    """Wrap every data key by the current master key; returns the deployments whose own key is not there.

    Raises Unavailable; what was done by then stays done.
    """
    current, unreadable = await envelope.current(), list[str]()
    query = DeploymentListing(limit=_PORTION, order="asc", include_archived=True)
    while True:
        rows = (await deployments.list(query))[:_PORTION]
        for each in rows:
            if any(kept["key"][0] != current for kept in each.body["resources"] if "key" in kept):
                try:
                    await _reseal(deployments, envelope, each)
                except KeyUnavailable:
                    unreadable.append(each.id)
        if len(rows) < _PORTION:
            return tuple(unreadable)
        query = replace(query, after=(rows[-1].created_at, rows[-1].id))


async def _reseal(deployments: DeploymentRepository, envelope: Envelope, deployment: DeploymentRecord) -> None:
    before: list[Kept] = deployment.body["resources"]
    after = [await rewrapped(deployment.id, each, envelope) for each in before]

    def change(stored: DeploymentRecord) -> DeploymentRecord:
        # Whoever has replaced them meanwhile has sealed them by the current key.
        body: dict[str, Any] = stored.body
        return replace(stored, body={**body, "resources": after}) if body["resources"] == before else stored

    await deployments.change(deployment.id, change)
