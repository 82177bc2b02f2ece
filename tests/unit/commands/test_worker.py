"""`worker --fleet` goes on in a process that joins the platform's cluster and shows no secret on its command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agents.commands import rollout
from agents.commands.failures import CommandFailed
from agents.commands.platform import PlatformRecord, run_dir, write_settings
from agents.commands.worker import Assignment, check_assignment, fleet_command, sandbox_config
from agents.config import Settings

ASSIGNMENT = Assignment("env_1", "http://server", 8, 60.0, sandbox_config(["a.example"], unrestricted=False))
KEY = "sk-ant-oat01-secret"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = PlatformRecord(1, "http://x", ray_address="127.0.0.1:6379", ray_auth_mode="token")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(rollout, "find_platform", lambda settings: found)
    return Settings.model_validate({"data_dir": tmp_path / "data"})


def test_a_worker_of_the_fleet_joins_the_platforms_cluster_with_its_settings(settings: Settings) -> None:
    write_settings(settings.model_copy(update={"port": 12345}))
    command, environment = fleet_command(settings, ASSIGNMENT, KEY)
    assert command[:3] == [sys.executable, "-m", "actors.fleet_worker"]
    named = dict(zip(command[3::2], command[4::2], strict=True))
    assert named["--address"] == "127.0.0.1:6379" and environment["RAY_AUTH_MODE"] == "token"
    assert Assignment.from_json(named["--assignment"]) == ASSIGNMENT
    assert Settings.from_json(Path(named["--settings"]).read_text()).port == 12345
    assert KEY not in " ".join(command) and environment["ANTHROPIC_ENVIRONMENT_KEY"] == KEY


def test_a_cluster_of_ones_own_is_joined_without_touching_what_is_up_here(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "find_platform", lambda settings: None)
    with pytest.raises(CommandFailed, match="set RAY_ADDRESS"):
        fleet_command(settings, ASSIGNMENT, KEY)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    command, _ = fleet_command(settings, ASSIGNMENT, KEY)
    assert "10.0.0.1:6379" in command
    assert not (run_dir(settings) / "settings.json").exists()


@pytest.mark.parametrize("environment_id", ["", "../env_1", "env_1/x", "env.1", "e" * 64])
def test_an_environment_must_be_one_that_can_name_directories(environment_id: str) -> None:
    with pytest.raises(CommandFailed, match="--environment-id"):
        check_assignment(Assignment(environment_id, "http://server", 1, 1.0, {}))


def test_sandboxes_reach_no_network_unless_it_is_opened() -> None:
    assert sandbox_config([], unrestricted=False)["networking"] == {"type": "limited", "allowed_hosts": []}
    assert sandbox_config([], unrestricted=True)["networking"] == {"type": "unrestricted"}
    with pytest.raises(CommandFailed, match="exclude each other"):
        sandbox_config(["a.example"], unrestricted=True)
