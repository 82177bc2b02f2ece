"""Removing trees: small ones here, all others by ``rm``, and never through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.hands import tree_removal
from agents.hands.tree_removal import remove_tree


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the helper programs that ran."""
    ran: list[str] = []
    really = tree_removal.run_program

    async def note(argv: list[str], *, seconds: float) -> tuple[int, str]:
        ran.append(argv[0])
        return await really(argv, seconds=seconds)

    monkeypatch.setattr(tree_removal, "run_program", note)
    return ran


async def test_a_small_tree_needs_no_program(tmp_path: Path, programs: list[str]) -> None:
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "a" / "file").write_text("x")
    os.mkfifo(tmp_path / "tree" / "a" / "pipe")
    await remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert programs == []


@pytest.mark.parametrize("shape", ["wide", "deep"])
async def test_a_large_tree_is_left_to_rm(tmp_path: Path, programs: list[str], shape: str) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    if shape == "deep":
        (folder / "/".join(["deeper"] * 30)).mkdir(parents=True)
    else:
        for number in range(300):
            (folder / f"{number}").write_text("")
    await remove_tree(folder)
    assert not folder.exists()
    assert programs == ["rm"]


async def test_links_are_removed_and_never_followed(tmp_path: Path, programs: list[str]) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(kept)
    (tmp_path / "tree" / "dangling").symlink_to("/nonexistent")
    await remove_tree(tmp_path / "tree")
    assert (kept / "file").exists()
    assert programs == []
    (tmp_path / "alias").symlink_to(kept)
    await remove_tree(tmp_path / "alias")
    assert (kept / "file").exists()
    assert not (tmp_path / "alias").is_symlink()


async def test_removing_what_is_gone_does_nothing(tmp_path: Path) -> None:
    await remove_tree(tmp_path / "nothing")
