"""``hecaton backup`` and ``hecaton restore`` say what is inside, what is not, and how to go on (ours)."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.commands.backup import back_up, backed_up_settings, bring_back
from agents.commands.failures import CommandFailed
from agents.commands.platform import write_settings
from agents.config import Settings
from agents.vaults.settings import key_id
from tests.unit.backup.site import add_credential, add_session, made_site, settings_of
from tests.unit.commands.screen import said, screen


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    settings = made_site(tmp_path / "data")
    add_session(settings.data_dir, "sesn_1")
    return settings


def backed_up(settings: Settings, place: Path, key_out: Path | None = None) -> str:
    out = screen(200)
    back_up(out, settings, place, checkpoints=True, key_out=key_out)
    return said(out)


def restored(settings: Settings, place: Path, key: Path | None = None) -> str:
    out = screen(200)
    bring_back(out, settings, place, key)
    return said(out)


def with_key(settings: Settings) -> str:
    key = os.urandom(32)
    (settings.data_dir / "master.key").write_text(b64encode(key).decode())
    (settings.data_dir / "master.key").chmod(0o600)
    add_credential(settings.data_dir, key_id(key))
    return key_id(key)


def test_it_says_what_is_inside_and_how_to_go_on(site: Settings, tmp_path: Path) -> None:
    (site.data_dir / "run").mkdir()
    text = backed_up(site, tmp_path / "b.tar.gz")
    assert "1 sessions" in text and "not inside, of the data directory: run" in text
    new = tmp_path / "new"
    text = restored(settings_of(new), tmp_path / "b.tar.gz")
    assert "1 sessions" in text and f"hecaton up --config {new / 'settings.yaml'} --data-dir {new}" in text
    assert (new / "settings.yaml").is_file()


def test_master_keys_travel_only_when_asked_and_apart(site: Settings, tmp_path: Path) -> None:
    key = with_key(site)
    text = backed_up(site, tmp_path / "one")
    assert f"not inside: the master keys {key}" in text and "--key-out" in text
    assert key in restored(settings_of(tmp_path / "new"), tmp_path / "one")
    text = backed_up(site, tmp_path / "two", tmp_path / "apart.key")
    assert "keep that file apart" in text
    assert (tmp_path / "apart.key").stat().st_mode & 0o777 == 0o600
    assert "sealed under" not in restored(settings_of(tmp_path / "other"), tmp_path / "two", tmp_path / "apart.key")


def test_a_key_that_cannot_be_copied_is_told_before_anything_is_done(site: Settings, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no secret has been sealed"):
        backed_up(site, tmp_path / "b", tmp_path / "k")
    with_key(site)
    (tmp_path / "k").touch()
    with pytest.raises(CommandFailed, match="there already"):
        backed_up(site, tmp_path / "b", tmp_path / "k")
    held = settings_of(site.data_dir, vaults={"master_key": b64encode(os.urandom(32)).decode()})
    with pytest.raises(CommandFailed, match="in no file"):
        backed_up(held, tmp_path / "b", tmp_path / "k2")
    assert not (tmp_path / "b").exists()


def test_what_the_platform_was_started_with_is_backed_up(tmp_path: Path) -> None:
    started = settings_of(tmp_path / "data", sandbox={"warm": 7})
    write_settings(started)
    (tmp_path / "data").rename(tmp_path / "moved")
    plain = settings_of(tmp_path / "moved")
    found = backed_up_settings(plain, given=False)
    assert (found.sandbox.warm, found.data_dir) == (7, tmp_path / "moved")
    assert backed_up_settings(plain, given=True) is plain
    assert backed_up_settings(settings_of(tmp_path / "none"), given=False).data_dir == tmp_path / "none"


def test_a_disk_that_fails_is_told_with_its_path(site: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandFailed, match="file"):
        backed_up(site, tmp_path / "file" / "b")


def test_the_commands_work_from_the_command_line(site: Settings, tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["backup", "--data-dir", str(site.data_dir), "--out", str(tmp_path / "b")])
    assert done.exit_code == 0, done.output
    done = runner.invoke(app, ["restore", "--from", str(tmp_path / "b"), "--data-dir", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "hecaton.db").exists()
