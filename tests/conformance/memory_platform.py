"""The whole platform but Ray, processes and networks: the real API and harness, hands in memory, a scripted brain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.api.app import create_app
from agents.api.platform import Platform
from agents.brains.local_pools import LocalPools
from agents.brains.port import BrainRequest
from agents.brains.registry import registry_of
from agents.brains.release_keeper import ReleaseKeeper
from agents.brains.scripted import Reply, ScriptedBrain, reply, text
from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.files.service import open_files
from agents.governance.hand_releases import HandReleases
from agents.hand_settings import HandDefinition
from agents.hands.deployed.records import HandVersion
from agents.hands.memory import MemoryHands
from agents.hands.toolset import tool_definitions
from agents.sessions.bus import Bus
from agents.sessions.harness import Harness
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.sessions.ports import HarnessPorts
from agents.skills.archive_store import MemoryArchives
from agents.store.memory import MemoryStore


@dataclass(frozen=True, slots=True)
class MemoryPlatform:
    """The application, and the harness under it, which is to be stopped."""

    app: Any
    harness: Harness


def _answer(_: BrainRequest) -> Reply:
    return reply(text("done"))


async def memory_platform(settings: Settings, store: Any = None) -> MemoryPlatform:
    """Compose and start it over *store*, by default one in memory; every request of a model is answered "done"."""
    clock, prices, store, brain = SystemClock(), PriceBook.load(), store or MemoryStore(), ScriptedBrain(by=_answer)
    ports = HarnessPorts(
        settings=settings,
        log=store.log,
        leases=store.leases,
        brain=brain,
        hands=MemoryHands(),
        clock=clock,
        meter=store.meter,
        bus=Bus(),
        prices=prices,
        tool_definitions=lambda: tool_definitions(SANDBOX_TOOLS),
    )
    harness = Harness(ports, owner="harness-0")
    await harness.start()
    definition = HandDefinition(server="crm:server")
    hand = await store.hands.add(HandVersion("default", definition, tools=(), created_at=clock.now()))

    async def ready() -> dict[str, Any]:
        return {"ready": True}

    platform = Platform(
        settings=settings,
        store=store,
        sessions=harness,
        clock=clock,
        prices=prices,
        brain=brain,
        counters=LocalPools(registry_of(settings), {"default@1": brain}, settings.brain),
        releases=ReleaseKeeper(registry_of(settings), store.releases, clock),
        hand_releases=HandReleases(store.hand_releases, lambda: {hand.id: hand}, clock),
        files=open_files(settings, store, clock),
        skill_archives=MemoryArchives(),
        meter=store.meter,
        metrics=lambda: b"",
        ready=ready,
    )
    return MemoryPlatform(create_app(platform), harness)
