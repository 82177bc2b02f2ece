"""Checkpoints of directories without a sandbox: what goes in comes out, cheaply, and never from elsewhere."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.hands.checkpoint_scan import TooManyFiles
from agents.hands.checkpoint_store import LocalStore, StoreUnavailable
from tests.unit.hands.checkpoint_tree import SESSION, UID, Churn, Tree, assert_restorable, deadline, packs


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "files", LocalStore(tmp_path / "store"))


def test_files_directories_links_modes_and_times_come_back(tree: Tree, tmp_path: Path) -> None:
    work = tree.workspace
    (work / "a").write_text("content")
    (work / "empty").write_bytes(b"")
    (work / "d" / "e" / "f").mkdir(parents=True)
    (work / "d" / "x").write_bytes(os.urandom(3_000_000))
    (work / "link").symlink_to("a")
    (work / "dangling").symlink_to("/etc/nowhere\n")
    (work / "d" / "loop").symlink_to("../d")
    os.link(work / "a", work / "hard")
    (work / "a").chmod(0o4751)
    (work / "closed").write_text("secret")
    (work / "closed").chmod(0)
    (work / "shut").mkdir()
    (work / "shut" / "in").write_text("in")
    (work / "shut").chmod(0)
    (tree.base / "home" / ".profile").write_text("export A=1")
    (tree.base / "outputs" / "report").write_text("done")
    os.utime(work / "empty", ns=(1, 1_234_567_891_123_456_789))
    (tree.base / "tmp").mkdir()
    (tree.base / "tmp" / "scratch").write_text("not kept")
    assert tree.checkpoint() == 1
    assert_restorable(tree, tmp_path)


@pytest.mark.parametrize(
    "name",
    [b"new\nline", b"\xff\xfe not utf-8", "ümläut \u2603".encode(), b" ", b"-rf", b"a'\"\\b", b"x" * 255, b"\x01\x7f"],
)
def test_weird_names_come_back(tree: Tree, tmp_path: Path, name: bytes) -> None:
    work = os.fsencode(tree.workspace)
    os.mkdir(os.path.join(work, name))
    os.symlink(name, os.path.join(work, name, b"link"))
    Path(os.fsdecode(os.path.join(work, name, name[:250]))).write_bytes(name)
    tree.checkpoint()
    assert_restorable(tree, tmp_path)
    os.unlink(os.path.join(work, name, name[:250]))
    tree.checkpoint()
    assert_restorable(tree, tmp_path)


def test_an_unchanged_tree_makes_no_pack_also_after_a_restart(tree: Tree) -> None:
    (tree.workspace / "a").write_text("1")
    assert tree.checkpoint() == 1
    assert tree.checkpoint() is None
    tree.restart()
    assert tree.checkpoint() is None
    assert len(packs(tree)) == 1


def test_empty_directories_that_every_session_begins_with_are_no_change(tree: Tree) -> None:
    assert tree.checkpoint() is None
    assert packs(tree) == []


def test_only_what_changed_is_written(tree: Tree) -> None:
    for number in range(10):
        (tree.workspace / f"f{number}").write_bytes(os.urandom(100_000))
    tree.checkpoint()
    (tree.workspace / "f7").write_bytes(os.urandom(50_000))
    assert tree.checkpoint() == 2
    sizes = tree.store.sizes(SESSION)
    assert 50_000 < sizes[packs(tree)[1]] < 60_000


def _replace(tree: Tree) -> None:
    (tree.workspace / "a" / "f").write_bytes(b"2")


def _same_size_and_time(tree: Tree) -> None:
    facts = (tree.workspace / "a" / "f").stat()
    (tree.workspace / "a" / "f").write_bytes(b"2")
    os.utime(tree.workspace / "a" / "f", ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _swap_directories(tree: Tree) -> None:
    (tree.workspace / "a").rename(tree.workspace / "x")
    (tree.workspace / "b").rename(tree.workspace / "a")
    (tree.workspace / "x").rename(tree.workspace / "b")


def _file_for_directory(tree: Tree) -> None:
    (tree.workspace / "a" / "f").unlink()
    (tree.workspace / "a").rmdir()
    (tree.workspace / "a").write_bytes(b"now a file")


def _link_for_directory(tree: Tree) -> None:
    (tree.workspace / "a" / "f").unlink()
    (tree.workspace / "a").rmdir()
    (tree.workspace / "a").symlink_to("b")


def _directory_for_file(tree: Tree) -> None:
    (tree.workspace / "a" / "f").unlink()
    (tree.workspace / "a" / "f").mkdir()
    (tree.workspace / "a" / "f" / "g").write_bytes(b"deeper")


def _gone_and_back(tree: Tree) -> None:
    _file_for_directory(tree)
    tree.checkpoint()
    (tree.workspace / "a").unlink()
    (tree.workspace / "a").mkdir()
    (tree.workspace / "a" / "other").write_bytes(b"1")


def _mode_only(tree: Tree) -> None:
    (tree.workspace / "a" / "f").chmod(0o600)


def _time_only(tree: Tree) -> None:
    os.utime(tree.workspace / "a" / "f", ns=(5, 5))


def _fifo_for_file(tree: Tree) -> None:
    (tree.workspace / "a" / "f").unlink()
    os.mkfifo(tree.workspace / "a" / "f")


@pytest.mark.parametrize(
    "change",
    [
        _replace,
        _same_size_and_time,
        _swap_directories,
        _file_for_directory,
        _link_for_directory,
        _directory_for_file,
        _gone_and_back,
        _mode_only,
        _time_only,
        _fifo_for_file,
    ],
)
def test_every_kind_of_change_is_seen(tree: Tree, tmp_path: Path, change: Callable[[Tree], None]) -> None:
    for name in ("a", "b"):
        (tree.workspace / name).mkdir()
        (tree.workspace / name / "f").write_bytes(b"1" if name == "a" else b"3")
        os.utime(tree.workspace / name / "f", ns=(7, 7))
    tree.checkpoint()
    change(tree)
    assert tree.checkpoint() is not None
    assert_restorable(tree, tmp_path)


def test_a_renamed_file_is_not_written_again(tree: Tree, tmp_path: Path) -> None:
    (tree.workspace / "old").write_bytes(os.urandom(1_000_000))
    tree.checkpoint()
    (tree.workspace / "old").rename(tree.base / "outputs" / "new")
    tree.checkpoint()
    assert tree.store.sizes(SESSION)[packs(tree)[1]] < 10_000
    assert_restorable(tree, tmp_path)


def test_files_with_holes_keep_them(tree: Tree, tmp_path: Path) -> None:
    with open(tree.workspace / "sparse", "wb") as file:
        file.truncate(50_000_000)
        file.seek(20_000_000)
        file.write(os.urandom(5000))
        file.seek(40_000_000)
        file.write(b"x")
    with open(tree.workspace / "hollow", "wb") as file:
        file.truncate(1_000_000)
    tree.checkpoint()
    assert sum(tree.store.sizes(SESSION).values()) < 100_000
    assert_restorable(tree, tmp_path)
    restored = max(tmp_path.glob("restored*"))
    assert (restored / "workspace" / "sparse").stat().st_blocks * 512 < 1_000_000
    assert tree.checkpoint() is None


def test_pipes_sockets_and_what_is_somebody_elses_are_left_out(tree: Tree, tmp_path: Path) -> None:
    work = tree.workspace
    (work / "mine").write_text("mine")
    os.mkfifo(work / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(work / "socket"))
        tree.own()
        (work / "theirs").write_text("root's")
        (work / "their_folder").mkdir()
        tree.work.checkpoint(deadline(), lambda: None)
    tree.restored_into(tmp_path / "there")
    assert os.listdir(tmp_path / "there" / "workspace") == ["mine"]


def test_more_than_the_limit_is_refused_before_anything_is_written(tree: Tree) -> None:
    with open(tree.workspace / "big", "wb") as file:
        file.write(bytes(65 * 1024 * 1024))
    with pytest.raises(TooManyFiles):
        tree.checkpoint()
    assert packs(tree) == []
    (tree.workspace / "big").unlink()
    (tree.workspace / "small").write_text("x")
    assert tree.checkpoint() is not None


def test_a_very_deep_tree_is_kept_as_far_as_paths_reach(tree: Tree, tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tree.workspace)
        for _ in range(400):
            os.mkdir("d")
            Path("f").write_text("x")
            os.chown("d", UID, UID)
            os.chown("f", UID, UID)
            os.chdir("d")
    finally:
        os.chdir(here)
    tree.work.checkpoint(deadline(), lambda: None)
    report = tree.restored_into(tmp_path / "there")
    assert 200 <= report.files < 400


def test_a_failed_write_changes_nothing_and_the_next_one_has_it_all(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree.workspace / "a").write_text("1")
    tree.checkpoint()
    (tree.workspace / "a").write_text("2")
    (tree.workspace / "b").write_text("3")
    with monkeypatch.context() as patch:
        patch.setattr("agents.hands.checkpoint_store.os.fsync", _full)
        with pytest.raises(StoreUnavailable):
            tree.checkpoint()
    assert len(packs(tree)) == 1
    assert tree.checkpoint() is not None
    assert_restorable(tree, tmp_path)


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_that_changes_while_it_is_read_is_right_at_the_next_checkpoint(tree: Tree, tmp_path: Path) -> None:
    path = tree.workspace / "log"
    path.write_bytes(b"start")
    os.chown(path, UID, UID)

    def append(number: int) -> None:
        with open(path, "ab") as file:
            file.write(b"%d\n" % number * 200)
        if number % 50 == 49:
            os.truncate(path, 100)

    with Churn(append):
        for _ in range(20):
            tree.checkpoint()
    tree.checkpoint()
    assert_restorable(tree, tmp_path)


names = st.sampled_from(["a", "b", "c", "d\n", "\udcff"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
steps = st.one_of(
    st.tuples(st.just("write"), paths, st.integers(0, 5000)),
    st.tuples(st.just("mkdir"), paths),
    st.tuples(st.just("remove"), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("symlink"), paths, paths),
    st.tuples(st.just("chmod"), paths, st.sampled_from([0o000, 0o600, 0o755])),
    st.tuples(st.just("touch"), paths, st.integers(0, 3)),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("restart")),
)


def _do(tree: Tree, step: tuple[Any, ...]) -> None:
    kind, *rest = step
    first, *others = (tree.workspace / part if isinstance(part, str) else part for part in rest or [""])
    match kind:
        case "write":
            first.parent.mkdir(parents=True, exist_ok=True)
            first.write_bytes(os.urandom(others[0]))
        case "mkdir":
            first.mkdir(parents=True, exist_ok=True)
        case "remove":
            shutil.rmtree(first) if first.is_dir() and not first.is_symlink() else first.unlink()
        case "rename":
            first.rename(others[0])
        case "link":
            os.link(first, others[0], follow_symlinks=False)
        case "symlink":
            os.symlink(rest[0], others[0])
        case "chmod":
            os.chmod(first, others[0])
        case "touch":
            os.utime(first, ns=(others[0], others[0]))
        case "checkpoint":
            tree.checkpoint()
        case _:
            tree.checkpoint()
            tree.restart()


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, max_size=40))
def test_whatever_tools_do_the_newest_checkpoint_is_what_there_was(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[Any, ...]]
) -> None:
    where = tmp_path_factory.mktemp("churn")
    tree = Tree(where / "files", LocalStore(where / "store"))
    for step in script:
        try:
            _do(tree, step)
        except (OSError, ValueError):
            continue
    tree.checkpoint()
    if packs(tree):
        assert_restorable(tree, where)
