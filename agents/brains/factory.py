"""Which brain the settings ask for, and how to tell the user about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from agents.brains.claude import API_KEY, ClaudeBrain
from agents.brains.plan import PlanBook
from agents.brains.replay import ReplayBrain
from agents.config import Settings
from agents.vault import Vault

DEFAULT_URL = "https://api.anthropic.com"


def chosen_engine(settings: Settings, environment: Mapping[str, str] | None = None) -> Literal["claude", "replay"]:
    """Resolve ``auto``: claude when a key or a base URL is configured, else replay."""
    if settings.brain.engine != "auto":
        return settings.brain.engine
    known = os.environ if environment is None else environment
    configured = (
        settings.anthropic_api_key
        or settings.brain.base_url
        or known.get(API_KEY.upper())
        or known.get("ANTHROPIC_BASE_URL")
    )
    return "claude" if configured else "replay"


def make_brain(
    settings: Settings, vault: Vault, environment: Mapping[str, str] | None = None
) -> ClaudeBrain | ReplayBrain:
    """Build the brain; close it with ``aclose``. Raises PlanError for a replay plan that cannot be used."""
    if chosen_engine(settings, environment) == "claude":
        return ClaudeBrain(settings.brain, vault)
    return ReplayBrain(PlanBook.load(settings.brain.replay_plan), pace=settings.brain.replay_pace)


def describe(settings: Settings, environment: Mapping[str, str] | None = None) -> str:
    """One line for the screen: what thinks. Raises PlanError like :func:`make_brain`."""
    known = os.environ if environment is None else environment
    if chosen_engine(settings, environment) == "claude":
        return f"claude at {settings.brain.base_url or known.get('ANTHROPIC_BASE_URL') or DEFAULT_URL}"
    names = ", ".join(PlanBook.load(settings.brain.replay_plan).names)
    return f"replay of scripted plans ({names}): NO MODEL IS CALLED. Set ANTHROPIC_API_KEY to let Claude think."
