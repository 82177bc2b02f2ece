"""Which brain is made, and what the screen says about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agents.brains.claude import ClaudeBrain
from agents.brains.factory import chosen_engine, describe, make_brain
from agents.brains.plan import PlanError
from agents.brains.replay import ReplayBrain
from agents.config import BrainSettings, Settings
from agents.vault import MemoryVault


def settings(key: str | None = None, **brain: Any) -> Settings:
    return Settings(anthropic_api_key=SecretStr(key) if key else None, brain=BrainSettings(**brain))


@pytest.mark.parametrize(
    ("given", "environment", "engine"),
    [
        (settings(), {}, "replay"),
        (settings(key="sk"), {}, "claude"),
        (settings(base_url="http://model"), {}, "claude"),
        (settings(), {"ANTHROPIC_API_KEY": "sk"}, "claude"),
        (settings(), {"ANTHROPIC_BASE_URL": "http://model"}, "claude"),
        (settings(), {"ANTHROPIC_API_KEY": ""}, "replay"),
        (settings(key="sk", engine="replay"), {"ANTHROPIC_API_KEY": "sk"}, "replay"),
        (settings(engine="claude"), {}, "claude"),
    ],
)
def test_the_engine_follows_from_what_is_configured(given: Settings, environment: dict[str, str], engine: str) -> None:
    assert chosen_engine(given, environment) == engine
    made = make_brain(given, MemoryVault(), environment)
    assert isinstance(made, ClaudeBrain if engine == "claude" else ReplayBrain)


def test_the_screen_says_where_claude_is() -> None:
    assert "https://api.anthropic.com" in describe(settings(key="sk-hush"), {})
    assert "sk-hush" not in describe(settings(key="sk-hush"), {})
    assert "http://model" in describe(settings(base_url="http://model"), {})


def test_the_screen_says_plainly_that_no_model_is_called() -> None:
    line = describe(settings(), {})
    assert "NO MODEL IS CALLED" in line
    assert "default" in line


def test_a_broken_plan_stops_the_start(tmp_path: Path) -> None:
    broken = tmp_path / "plan.yaml"
    broken.write_text("plan: []")
    with pytest.raises(PlanError, match=r"plan\.yaml: plan"):
        make_brain(settings(replay_plan=broken), MemoryVault(), {})
