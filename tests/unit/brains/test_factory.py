"""Which engine is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agents.brains.claude import ClaudeBrain
from agents.brains.factory import make_engine
from agents.brains.plan import PlanError
from agents.brains.port import Engine
from agents.brains.registry import registry_of
from agents.brains.replay import ReplayBrain
from agents.config import BrainSettings, Settings
from agents.vault import MemoryVault


def settings(key: str | None = None, **brain: Any) -> Settings:
    return Settings(anthropic_api_key=SecretStr(key) if key else None, brain=BrainSettings(**brain))


def engine_of(given: Settings) -> Engine:
    [brain] = registry_of(given).brains
    return make_engine(brain.definition, given, MemoryVault())


@pytest.mark.parametrize(
    ("given", "engine"),
    [
        (settings(), ReplayBrain),
        (settings(key="sk"), ClaudeBrain),
        (settings(base_url="http://model"), ClaudeBrain),
        (settings(key="sk", engine="replay"), ReplayBrain),
        (settings(engine="claude"), ClaudeBrain),
    ],
)
def test_the_engine_follows_from_what_is_configured(given: Settings, engine: type) -> None:
    assert isinstance(engine_of(given), engine)


def test_a_broken_plan_stops_the_start(tmp_path: Path) -> None:
    broken = tmp_path / "plan.yaml"
    broken.write_text("plan: []")
    with pytest.raises(PlanError, match=r"plan\.yaml: plan"):
        engine_of(settings(replay_plan=broken))
