"""What lies in the store: few packs, little that is dead, and nothing that another host still needs."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from agents.hands import checkpoint_history
from agents.hands.checkpoint_copy import FileCopier, Plan
from agents.hands.checkpoint_store import LocalStore
from tests.unit.hands.checkpoint_tree import SESSION, UID, Tree, assert_restorable, deadline, packs


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "files", LocalStore(tmp_path / "store"))


def test_many_checkpoints_stay_few_objects_and_little_dead_content(tree: Tree, tmp_path: Path) -> None:
    dice = random.Random(1)
    (tree.workspace / "base").write_bytes(os.urandom(2_000_000))
    written = 0
    for number in range(150):
        (tree.workspace / f"f{dice.randrange(30)}").write_bytes(os.urandom(dice.randrange(20_000)))
        tree.checkpoint()
        written = max(written, len(packs(tree)))
        if number % 40 == 39:
            assert_restorable(tree, tmp_path)
    assert written <= checkpoint_history._MAX_OBJECTS + 2
    live = sum(len(file.read_bytes()) for file in tree.workspace.iterdir())
    assert sum(tree.store.sizes(SESSION).values()) < 2 * live + checkpoint_history._SPARE_BYTES


def test_a_directory_that_is_removed_does_not_stay_in_the_store(tree: Tree, tmp_path: Path) -> None:
    (tree.workspace / "old" / "deep").mkdir(parents=True)
    (tree.workspace / "old" / "deep" / "big").write_bytes(os.urandom(checkpoint_history._SPARE_BYTES + 1000))
    (tree.workspace / "small").write_text("x")
    tree.checkpoint()
    shutil.rmtree(tree.workspace / "old")
    tree.checkpoint()
    assert sum(tree.store.sizes(SESSION).values()) < 100_000
    assert_restorable(tree, tmp_path)


def test_a_large_file_that_stays_is_not_written_again_when_small_packs_are_brought_together(tree: Tree) -> None:
    (tree.workspace / "base").write_bytes(os.urandom(20_000_000))
    tree.checkpoint()
    first = packs(tree)[0]
    for number in range(80):
        (tree.workspace / f"f{number}").write_bytes(os.urandom(1000))
        tree.checkpoint()
    sizes = tree.store.sizes(SESSION)
    assert first in sizes
    assert sum(sizes.values()) < 21_000_000


def write_table_alone(tree: Tree) -> None:
    history = tree.work._history
    assert history is not None
    tree.work.state.version += 1
    history.write(Plan(), FileCopier(-1, UID, deadline()), tree.work.state.version, whole=True)


def test_a_large_table_is_written_in_part(tree: Tree, tmp_path: Path) -> None:
    for number in range(600):
        folder = tree.workspace / f"d{number // 50}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}").write_text(f"{number}")
    tree.checkpoint()
    write_table_alone(tree)  # as after a restore
    for number in range(checkpoint_history._MAX_OBJECTS + 5):
        (tree.workspace / f"d{number % 4}" / "new").write_text(f"{number}")
        tree.checkpoint()
    _, whole, *parts = (size for _, size in sorted(tree.store.sizes(SESSION).items()))
    assert max(parts) < whole / 5
    assert_restorable(tree, tmp_path)
    (tree.workspace / "d3" / "new").unlink()
    tree.restart()
    tree.checkpoint()
    assert_restorable(tree, tmp_path)


def test_a_host_that_was_overtaken_removes_nothing(tree: Tree) -> None:
    for number in range(10):
        (tree.workspace / "f").write_text(f"{number}")
        tree.checkpoint()
    with tree.store.writing(SESSION, "000000001000000-other.pack") as sink:
        sink.write(b"taken over")
    for number in range(60):
        (tree.workspace / "f").write_text(f"again {number}")
        tree.checkpoint()
    assert "000000000000001-h_1.pack" in packs(tree)
    assert "000000001000000-other.pack" in packs(tree)
