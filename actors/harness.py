"""The harness actor: a session service whose brains and hands are elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from actors.brain_client import BrainClient
from actors.hands_client import HandsClient
from actors.names import harness_name
from actors.placement import HARDLY_A_CPU
from actors.remote import actor
from actors.replies import Reply
from actors.session_service import SessionService
from actors.standby_client import report_path
from agents.brains.port import BrainPools
from agents.config import Settings
from agents.hands.port import Hands
from agents.standby.health import CountedHands, CountedPools, PathCounter
from agents.telemetry.harness_metrics import HarnessMetrics
from agents.telemetry.metrics import BRAINS

# Actor calls only find, check and stop it; sessions travel over links.
_MAX_CONCURRENCY = 100


@actor(num_cpus=HARDLY_A_CPU, max_restarts=-1, max_task_retries=0, max_concurrency=_MAX_CONCURRENCY)
class HarnessActor:
    """Owns its share of the partitions; which ones, the lease table says.

    It waits on brains, hands and the store: reserving a CPU would only keep hands out.
    """

    def __init__(self, settings_json: str, index: int) -> None:
        settings = Settings.from_json(settings_json)
        self._brains, name = BrainClient(settings), harness_name(index)
        pools: BrainPools = self._brains
        hands: Hands = HandsClient(settings)
        if settings.standby.enabled:
            counter = PathCounter()
            pools, hands = CountedPools(pools, counter), CountedHands(hands, counter)
            self._reporting = asyncio.create_task(report_path(name, counter, lambda: self._brains.lacking))
        self._service = SessionService(
            settings, name, pools=pools, hands=hands, figures=self._figures, metrics=HarnessMetrics.of(settings)
        )
        # Ray starts an actor again by its constructor alone, and its sessions must not wait for somebody to ask.
        self._brains.start()
        self._service.start()

    def _figures(self) -> dict[str, Any]:
        return {**self._brains.figures, BRAINS: self._brains.figures_by_brain}

    async def endpoint(self) -> Reply:
        """Tell a gateway where to connect and which token to show."""
        return Reply(await self._service.endpoint())

    async def ping(self) -> Reply:
        """Answer once the harness is a member and owns what was free for it."""
        return Reply(await self._service.figures())

    def node(self) -> str:
        """Say on which of Ray's nodes this is."""
        return ray.get_runtime_context().get_node_id()

    async def stop(self) -> Reply:
        """Hand the partitions over and leave."""
        await self._service.stop()
        return Reply(True)
