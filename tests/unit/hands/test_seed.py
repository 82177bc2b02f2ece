from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.hands.seed import seed_workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "pkg" / "__pycache__").mkdir(parents=True)
    (source / ".git").mkdir()
    (source / ".git" / "HEAD").write_text("ref")
    (source / "pkg" / "__pycache__" / "a.pyc").write_text("x")
    (source / "pkg" / "a.py").write_text("print()")
    (source / os.fsdecode(b"odd-\xff name")).write_text("odd")
    (source / "out").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    return source


def test_files_come_along_and_histories_caches_and_pipes_do_not(folder: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    seed_workspace(folder, workspace, uid=None, max_bytes=1000)
    found = {str(p.relative_to(workspace)) for p in workspace.rglob("*")}
    assert found == {"pkg", "pkg/a.py", "out", os.fsdecode(b"odd-\xff name")}


def test_a_link_stays_a_link(folder: Path, tmp_path: Path) -> None:
    seed_workspace(folder, tmp_path / "workspace", uid=None, max_bytes=1000)
    assert os.readlink(tmp_path / "workspace" / "out") == "/etc/passwd"


def test_what_does_not_fit_is_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "big").write_bytes(b"0" * 2000)
    copied = seed_workspace(folder, tmp_path / "workspace", uid=None, max_bytes=1000)
    assert copied <= 1000 and not (tmp_path / "workspace" / "big").exists()
    assert (tmp_path / "workspace" / "pkg" / "a.py").exists()


def test_the_copy_belongs_to_the_sandbox_user(folder: Path, tmp_path: Path) -> None:
    seed_workspace(folder, tmp_path / "workspace", uid=os.geteuid(), max_bytes=1000)
    assert (tmp_path / "workspace" / "pkg" / "a.py").stat().st_uid == os.geteuid()
