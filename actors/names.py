"""Names under which the parts of the platform find each other on a Ray cluster."""

from __future__ import annotations

from typing import Any

from agents.brains.registry import DEFAULT_NAME

NAMESPACE = "hecaton"
DETACHED: dict[str, Any] = {"namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
"""Options of an actor that outlives who started it, and is started once."""
BRAIN_APP = "hecaton-brain"
GATEWAY_APP = "hecaton-gateway"
HAND_APP = "hecaton-hand"
MONOLITH_APP = "hecaton-monolith"
FLEET = "fleet"
DEFAULT_BRAIN = f"{DEFAULT_NAME}@1"
"""Id of the brain that there is when none is declared."""


def brain_app_name(brain: str) -> str:
    """Return the name of the Serve application of the brain with id *brain*; the implied one's has no addition."""
    return BRAIN_APP if brain == DEFAULT_BRAIN else f"{BRAIN_APP}-{brain}"


def hand_app_name(hand: str) -> str:
    """Return the name of the Serve application of the hand with id *hand*."""
    return f"{HAND_APP}-{hand}"


def harness_name(index: int) -> str:
    return f"harness-{index}"


def harness_index(name: str) -> int | None:
    """Return the index in a harness's name, None for another part's."""
    prefix, _, index = name.rpartition("-")
    return int(index) if prefix == "harness" and index.isdigit() else None
