"""What a model request of an experiment costs: by its brain's own price, else by the price book under its id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.brain_settings import BrainDefinition
from agents.brains.assembly import TokenUsage
from agents.economics.price_book import PriceBook
from agents.experiments.running.recording import Cost


def cost_of(settings: Mapping[str, Any]) -> Cost:
    """Return what prices requests in micro-USD by brain id and tokens, given a platform's *settings*.

    Raises PriceBookError.
    """
    file = settings.get("brain", {}).get("price_book")
    prices = PriceBook.load(Path(file) if file else None)
    brains = {name: BrainDefinition.model_validate(brain) for name, brain in settings["brains"].items()}

    def cost(brain_id: str, usage: TokenUsage) -> int:
        brain = brains.get(brain_id.partition("@")[0])
        return prices.cost(brain_id, usage, own=brain.price if brain else None)

    return cost
