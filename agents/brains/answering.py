"""Which brains may answer what is named as a model: to be known before anybody is asked, for their room and price."""

from __future__ import annotations

from collections.abc import Collection

from agents.brain_settings import RESERVED, Role
from agents.brains.registry import RegisteredBrain, Registry

_SUMMARIZER: Role = "summarization"


def suited_to(registry: Registry, role: Role) -> Collection[RegisteredBrain]:
    """Return the brains that the policy chooses from for *role*: those that have it, or all when none has."""
    choosable = registry.choosable
    return [brain for brain in choosable if role in brain.definition.roles] or choosable


def versions_meant(registry: Registry, brain: RegisteredBrain, model: str) -> Collection[RegisteredBrain]:
    """Return those of *brain*'s versions of which any may answer *model*: all, unless it names this one."""
    return [brain] if model == brain.id else registry.versions(brain.name).values()


def summarizer_of(registry: Registry, model: str) -> str:
    """Return what a session names as the model of its summaries: its own *model* when no brain has the role."""
    declared = registry.declared and any(_SUMMARIZER in brain.definition.roles for brain in registry.choosable)
    return f"{RESERVED}:{_SUMMARIZER}" if declared else model
