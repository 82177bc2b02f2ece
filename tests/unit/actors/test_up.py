"""How ``hecaton up`` says what it refuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from actors import up
from agents.config import Settings
from agents.errors import InvalidRequest


def test_a_cluster_that_does_not_suit_the_settings_is_refused_with_the_reason_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: object) -> int:
        raise InvalidRequest("database_url: must be set")

    file = tmp_path / "settings.json"
    file.write_text(Settings(data_dir=tmp_path / "data").to_json())
    monkeypatch.setattr(up.PlatformProcess, "run", refuse)
    monkeypatch.setattr(up, "go_on_guarded", lambda: 1)
    monkeypatch.setattr(up, "prepare_environment", lambda settings: None)
    monkeypatch.setattr(up, "ask_for_token", lambda: None)
    monkeypatch.setattr(sys, "argv", ["up", "--settings", str(file)])
    assert up.main() == 2
    assert "database_url: must be set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "mode"),
    [({}, "token"), ({"RAY_AUTH_MODE": "disabled"}, "disabled"), ({"RAY_ADDRESS": "10.0.0.1:6379"}, None)],
    ids=["alone", "told", "joins"],
)
def test_ray_asks_for_a_token_unless_it_was_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], mode: str | None
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_ADDRESS"):
        # Set before it is deleted, so that what the code sets is taken away afterwards.
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    up.ask_for_token()
    assert os.environ.get("RAY_AUTH_MODE") == mode
