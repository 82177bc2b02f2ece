"""Hands on Serve: whoever has Ray at hand deploys and ends them; what there shall be, the store says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ray import serve
from ray.exceptions import RayError
from ray.serve.api import RunTarget
from ray.serve.exceptions import RayServeException

from actors.brain_states import AppReport, state_of
from actors.database import open_platform_store
from actors.hand import hand_target
from actors.names import HAND_APP, hand_app_name
from agents.clock import SystemClock
from agents.config import Settings
from agents.errors import InvalidRequest, Unavailable
from agents.hands.deployed.deployments import HandState, declare
from agents.hands.deployed.records import HandRecords, HandVersion

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SERVE_SECONDS = 60.0
"""What Serve is asked takes milliseconds; beyond this its controller does not answer."""


class ServeHands:
    """The HandDeployer of a cluster."""

    def __init__(self, settings: Settings, records: HandRecords) -> None:
        self._settings = settings
        self._records = records
        self._report = AppReport()

    async def deploy(self, hand: HandVersion) -> None:
        """See HandDeployer.deploy."""
        targets = await _targets(self._settings, self._records, [hand])
        await _of_serve(lambda: _run(targets))

    async def deploy_missing(self) -> None:
        """Deploy what the store has and Serve has not: who was to do so has ended before."""
        known = await _of_serve(lambda: set(serve.status().applications))
        lacking = [hand for hand in await self._records.list() if hand_app_name(hand.id) not in known]
        for hand in lacking:
            logger.warning("hand %s is not deployed; it is now", hand.id)
            await self.deploy(hand)

    async def end(self, hand: HandVersion) -> None:
        """See HandDeployer.end."""
        await _of_serve(lambda: serve.delete(hand_app_name(hand.id), _blocking=False))

    async def states(self) -> Mapping[str, HandState]:
        """See HandDeployer.states."""
        applications = await self._report.applications() or {}
        prefix = hand_app_name("")
        found = {name.removeprefix(prefix): state_of(app) for name, app in applications.items() if _is_hand(name)}
        return {hand: HandState(each.state.value, each.replicas, each.message) for hand, each in found.items()}


def hand_targets(settings: Settings) -> list[RunTarget]:
    """Keep the hands that the settings declare; return what Serve is to run for all there are. Blocks.

    Raises InvalidSettings, Unavailable.
    """
    return asyncio.run(_all_targets(settings))


def declared_hand_app(settings: Settings, name: str) -> serve.Application:
    """Keep the hands that the settings declare; return the application of the one with that name. Blocks.

    Raises InvalidSettings, InvalidRequest when it is not declared, Unavailable.
    """
    if name not in settings.hands:
        raise InvalidRequest(f"args.hand: {name!r} is not declared; there are {', '.join(settings.hands) or 'none'}")
    application = hand_app_name(f"{name}@{settings.hands[name].version}")
    return next(target.target for target in hand_targets(settings) if target.name == application)


async def _all_targets(settings: Settings) -> list[RunTarget]:
    store = await open_platform_store(settings)
    try:
        await declare(settings, store.hands, SystemClock())
        # A monolith's replicas run them themselves.
        hands = await store.hands.list() if settings.topology == "decoupled" else []
        return await _targets(settings, store.hands, hands)
    finally:
        await store.close()


async def _targets(settings: Settings, records: HandRecords, hands: Sequence[HandVersion]) -> list[RunTarget]:
    targets: list[RunTarget] = []
    for hand in hands:
        archive = await records.source(hand.source) if hand.source else None
        targets.append(await _of_serve(lambda hand=hand, archive=archive: hand_target(settings, hand, archive)))
    return targets


def hand_apps() -> list[str]:
    """Return the names of the applications that are hands. Blocks; raises RayError."""
    return [name for name in serve.status().applications if _is_hand(name)]


def _is_hand(application: str) -> bool:
    return application.startswith(f"{HAND_APP}-")


def _run(targets: Sequence[RunTarget]) -> None:
    serve.run_many(targets, wait_for_applications_running=False)


async def _of_serve(work: Callable[[], T]) -> T:
    """Do what blocks, in a thread. Raises Unavailable, also when it takes too long; it may be done all the same."""
    try:
        async with asyncio.timeout(_SERVE_SECONDS):
            return await asyncio.to_thread(work)
    except TimeoutError:
        raise Unavailable(f"Serve did not answer within {_SERVE_SECONDS:g} s", retry_after=1.0) from None
    except (RayError, RayServeException) as error:
        raise Unavailable(f"Serve does not deploy just now ({type(error).__name__})", retry_after=1.0) from error
