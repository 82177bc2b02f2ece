"""The engine of a brain."""

from __future__ import annotations

from agents.brain_settings import BrainDefinition
from agents.brains.claude import ClaudeBrain
from agents.brains.plan import PlanBook
from agents.brains.port import Engine
from agents.brains.replay import ReplayBrain
from agents.brains.server.engine import ServerEngine
from agents.brains.transformers.engine import TransformersBrain
from agents.config import Settings
from agents.vault import Vault


def make_engine(definition: BrainDefinition, settings: Settings, vault: Vault) -> Engine:
    """Build a brain's engine; nothing runs before its ``start``.

    Raises PlanError for a replay plan that cannot be used, EngineUnusable when the engine is not installed.
    """
    match definition.engine:
        case "claude":
            return ClaudeBrain(settings.brain, vault, base_url=definition.base_url)
        case "server":
            return ServerEngine(definition, settings.brain)
        case "replay":
            return ReplayBrain(PlanBook.load(definition.replay_plan), pace=settings.brain.replay_pace)
        case "transformers":
            return TransformersBrain(definition, settings.brain)
