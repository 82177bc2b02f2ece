"""The shared system: what it holds, what it must never hold, and that nobody can change it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agents.hands.system_root import make_system_root
from tests.unit.hands.conftest import Hands, Start


def test_every_user_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_system_root(tmp_path / "system")
    finally:
        os.umask(before)
    folders = [tmp_path / "system", *(path for path in (tmp_path / "system").rglob("*") if path.is_dir())]
    closed = [path for path in folders if not path.is_symlink() and path.stat().st_mode & 0o005 != 0o005]
    assert closed == []
    assert (tmp_path / "system" / "etc" / "passwd").stat().st_mode & 0o777 == 0o644


def test_it_names_nothing_of_the_host(tmp_path: Path) -> None:
    make_system_root(tmp_path / "system")
    names = {path.name for path in (tmp_path / "system" / "etc").iterdir()}
    assert names <= {
        "passwd", "group", "hosts", "resolv.conf", "ld.so.cache", "alternatives", "localtime", "ssl", "ca-certificates",
        "fonts", "mime.types", "services", "protocols",
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "system" / "etc" / "ssl").iterdir()} <= {"certs"}
    assert (tmp_path / "system" / "etc" / "resolv.conf").read_text() == ""


def test_a_file_that_cannot_be_copied_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr("agents.hands.system_root.shutil.copy2", refuse)
    make_system_root(tmp_path / "system")
    assert (tmp_path / "system" / "usr").is_dir()
    assert "ld.so.cache" in caplog.text


async def test_programs_find_their_libraries_certificates_and_time_zone(hands: Hands) -> None:
    command = "ls /etc/ssl/certs | sort | head -50; readlink /etc/localtime; ldconfig -p | head -1; ls /bin/sh"
    assert await hands.out(command) == subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={"LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
    ).stdout.rstrip("\n")


async def test_nobody_can_change_it(hands: Hands) -> None:
    out = await hands.out("touch /etc/hosts /owned /home/owned; mkdir /run/x; chmod 777 /; mv /workspace /w; rm /bin")
    assert out.count("Read-only") >= 6


async def test_each_host_has_its_own_and_takes_it_away(start: Start, place: Path) -> None:
    hands = await start()
    await hands.out("true")
    (own,) = (hands.host.root / ".warm").iterdir()
    assert (own / "system" / "etc" / "passwd").exists()
    await hands.host.stop()
    assert not own.exists()
