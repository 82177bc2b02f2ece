"""How an experiment's platforms are set up: in which order, with which settings, and with which hands.

Every topology gets the plan's settings and, laid over them, what it differs in; brain, hands and their times are the
same. The order is ABBA: what grows or shrinks with time falls on both alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agents.brain_settings import BrainDefinition
from agents.errors import HecatonError
from agents.experiments.plan import Plan, Topology
from agents.experiments.running.platform_api import PlatformApi
from agents.experiments.work.workloads import PLAN_FILE, hands_needed
from agents.settings_base import as_mapping, laid_over

BRAIN = "simulated"
"""Name of the brain that is declared where the plan names none."""
_LOOK_SECONDS, _LOOKS = 0.2, 60


class HandsNotReady(HecatonError):
    """A hand that an experiment needs does not come up; the message says which and why."""

    code = "api_error"


def rounds_of(topologies: Sequence[Topology], rounds: int) -> Iterator[tuple[int, Topology]]:
    """Yield each round's topologies: in the plan's order, then the other way round, and so on."""
    for number in range(rounds):
        for topology in topologies if number % 2 == 0 else reversed(topologies):
            yield number, topology


def platform_settings(plan: Plan, topology: Topology) -> dict[str, Any]:
    """Return the settings of one topology's platform, as in a configuration file; its hands are added later.

    A turn of the monolith holds one of as many places as the brain has: ``max_batch`` on each GPU.
    """
    brain = {
        "engine": "simulated",
        "replay_plan": str(PLAN_FILE),
        "simulated": plan.brain.model_dump(mode="json"),
        "max_ongoing_requests": plan.brain.max_batch,
        "scaling": {"min_replicas": plan.gpus, "max_replicas": plan.gpus},
    }
    base: dict[str, Any] = {"topology": topology.topology, "proxy": "haproxy", "monolith": {"replicas": plan.gpus}}
    given = laid_over(plan.settings, topology.settings)
    if "brains" not in given:
        base["brains"] = {BRAIN: brain}
    return {key: value for key, value in laid_over(base, given).items() if key != "hands"}


def hand_definitions(plan: Plan, topology: Topology, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the definitions of all hands: those of the workloads, with the plan's times and their data in *folder*,
    and what ``settings.hands`` says of them, or of others."""
    said: Mapping[Any, Any] = as_mapping(laid_over(plan.settings, topology.settings).get("hands")) or {}
    return laid_over(hands_needed(plan.hands, folder), said)


def brain_of(settings: Mapping[str, Any]) -> str:
    """Return the brain that the workloads' agents name: the first that *settings* declare."""
    return next(iter(settings["brains"]))


async def add_hands(api: PlatformApi, definitions: Mapping[str, Mapping[str, Any]], *, within: float = 180.0) -> None:
    """Add hands to a running platform and wait until each has said what it offers. Raises HandsNotReady, Refused."""
    for name, definition in definitions.items():
        await _add(api, name, definition)
    for name, definition in definitions.items():
        try:
            async with asyncio.timeout(within):
                while not await _offers(api, name):
                    # A platform asks once, for some seconds; a hand may start more slowly on a busy machine.
                    await _add(api, name, definition)
        except TimeoutError:
            raise HandsNotReady(f"hand {name} has not said what it offers after {within:g} s") from None


async def _add(api: PlatformApi, name: str, definition: Mapping[str, Any]) -> None:
    await api.post("/-/hands", {"name": name, "definition": definition})


async def _offers(api: PlatformApi, name: str) -> bool:
    """Return whether a hand says what it offers before it must be asked anew. Raises HandsNotReady."""
    for _ in range(_LOOKS):
        hand = await api.get(f"/-/hands/{quote(name)}")
        if hand["state"] == "DEPLOY_FAILED":
            raise HandsNotReady(f"hand {name} does not start: {hand['message']}")
        if hand["tools"] is not None:
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


def turn_places(settings: Mapping[str, Any]) -> int:
    """Return how many turns the monolith of *settings* works on at a time, all its replicas together; 0 for none."""
    if settings["topology"] != "monolith":
        return 0
    brain, monolith = settings["brains"][brain_of(settings)], settings["monolith"]
    usual = BrainDefinition.model_validate(brain).max_ongoing_requests
    return int(monolith.get("replicas", 1)) * int(monolith.get("turns") or usual)
