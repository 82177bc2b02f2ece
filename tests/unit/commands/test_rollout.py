"""`scale` and `roll` find the running platform and its settings, and refuse what cannot change while it runs (ours)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.commands import rollout
from agents.commands.failures import CommandFailed
from agents.commands.platform import PlatformRecord, write_settings
from agents.commands.rollout import joining_environment, rollout_command
from agents.config import Settings

ORDER = ["scale", "--harness=3"]


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path / "data", **more})


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch) -> PlatformRecord:
    found = PlatformRecord(1, "http://x", ray_address="127.0.0.1:6379")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(rollout, "find_platform", lambda settings: found)
    return found


def given(command: list[str]) -> Settings:
    """The settings that the command's process gets."""
    return Settings.from_json(Path(command[command.index("--settings") + 1]).read_text())


def test_an_order_goes_to_the_cluster_that_the_platform_runs_on(tmp_path: Path) -> None:
    command = rollout_command(settings(tmp_path), ORDER, anew=False)
    assert command[:3] == [sys.executable, "-m", "actors.rollout"]
    assert command[command.index("--address") + 1] == "127.0.0.1:6379"
    assert command[-2:] == ORDER


def test_a_cluster_named_by_the_environment_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "find_platform", lambda settings: None)
    with pytest.raises(CommandFailed, match="nothing is up") as caught:
        rollout_command(settings(tmp_path), ORDER, anew=False)
    assert caught.value.exit_code == 2
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    command = rollout_command(settings(tmp_path), ORDER, anew=False)
    assert command[command.index("--address") + 1] == "10.0.0.1:6379"


def test_its_process_is_let_in_as_the_platform_itself_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    found = PlatformRecord(1, "http://x", ray_address="127.0.0.1:6379", ray_auth_mode="token")
    monkeypatch.setattr(rollout, "find_platform", lambda settings: found)
    assert joining_environment(settings(tmp_path))["RAY_AUTH_MODE"] == "token"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert "RAY_AUTH_MODE" not in joining_environment(settings(tmp_path))


def test_new_processes_get_what_the_platform_was_started_with(tmp_path: Path) -> None:
    write_settings(settings(tmp_path, sandbox={"warm": 7}, api_key="hunter2"))
    started = given(rollout_command(settings(tmp_path), ORDER, anew=False))
    assert started.sandbox.warm == 7 and started.api_key is not None


def test_new_settings_replace_those_and_stay(tmp_path: Path) -> None:
    write_settings(settings(tmp_path, sandbox={"warm": 7}))
    assert given(rollout_command(settings(tmp_path, sandbox={"warm": 5}), ["roll", "all"], anew=True)).sandbox.warm == 5
    assert given(rollout_command(settings(tmp_path), ORDER, anew=False)).sandbox.warm == 5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"port": 9999}, "port"),
        ({"harness": {"partitions": 8}}, "harness.partitions"),
        ({"standby": {"enabled": True}}, "standby.enabled"),
        ({"database_url": "postgresql+asyncpg://u:secret@h/d"}, "database_url"),
    ],
)
def test_what_the_platform_stands_on_cannot_change_while_it_runs(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    file = write_settings(settings(tmp_path))
    before = json.loads(file.read_text())
    with pytest.raises(CommandFailed, match=named) as caught:
        rollout_command(settings(tmp_path, **change), ["roll", "all"], anew=True)
    assert caught.value.exit_code == 2 and "secret" not in str(caught.value)
    assert json.loads(file.read_text()) == before


def test_a_settings_file_that_is_broken_is_said_to_be(tmp_path: Path) -> None:
    write_settings(settings(tmp_path)).write_text("{")
    with pytest.raises(CommandFailed, match=r"settings\.json"):
        rollout_command(settings(tmp_path), ORDER, anew=False)
