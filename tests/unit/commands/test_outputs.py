"""Results leave the sandbox as plain files, and nothing else does (ours)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.commands import outputs
from agents.commands.outputs import collect_outputs


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    (folder / "deep").mkdir(parents=True)
    (folder / "report.md").write_text("hello")
    (folder / "deep" / "chart.svg").write_text("<svg/>")
    return folder


def test_files_are_copied_with_their_folders(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "here"
    assert collect_outputs(made, target) == [target / "deep" / "chart.svg", target / "report.md"]
    assert (target / "report.md").read_text() == "hello"


def test_a_newer_run_overwrites_an_older_copy(made: Path, tmp_path: Path) -> None:
    collect_outputs(made, tmp_path / "here")
    (made / "report.md").write_text("hi")
    collect_outputs(made, tmp_path / "here")
    assert (tmp_path / "here" / "report.md").read_text() == "hi"


def test_links_and_pipes_are_left_out_so_that_no_host_file_can_be_fetched(made: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("k")
    (made / "link").symlink_to(secret / "key")
    (made / "folder").symlink_to(secret)
    os.mkfifo(made / "pipe")
    assert [file.name for file in collect_outputs(made, tmp_path / "here")] == ["chart.svg", "report.md"]


def test_what_does_not_fit_is_left_out(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_BYTES", 5)
    assert [file.name for file in collect_outputs(made, tmp_path / "here")] == ["report.md"]


def test_no_more_than_the_limit_of_files_is_copied(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_FILES", 1)
    assert len(collect_outputs(made, tmp_path / "here")) == 1


def test_a_session_without_outputs_gives_none(tmp_path: Path) -> None:
    assert collect_outputs(tmp_path / "absent", tmp_path / "here") == []
