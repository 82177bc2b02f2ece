"""Checkpoints of directories without a sandbox: what goes in comes out, cheaply, and never from elsewhere."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.hands import checkpoint_history, checkpoint_scan
from agents.hands.checkpoint_copy import FileCopier, Plan, told_apart
from agents.hands.checkpoint_history import load_version, stored_names
from agents.hands.checkpoint_manifest import DamagedPack, Entry, Manifest, decode, encode
from agents.hands.checkpoint_pack import PackName, PackWriter
from agents.hands.checkpoint_scan import TooManyFiles
from agents.hands.checkpoint_store import LocalStore, StoreUnavailable
from tests.unit.hands.checkpoint_tree import SESSION, UID, Tree, deadline, snapshot

_places = itertools.count()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "files", LocalStore(tmp_path / "store"))


def packs(tree: Tree) -> list[str]:
    return sorted(tree.store.sizes(SESSION))


def assert_restorable(tree: Tree, where: Path) -> None:
    target = where / f"restored{next(_places)}"
    assert tree.restored_into(target).damaged == []
    assert snapshot(target) == snapshot(tree.base)


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


class Churn:
    """A thread that changes files all the time."""

    def __init__(self, work: Callable[[int], None]) -> None:
        self._work = work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            self._work(number)


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


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host with a file that must not get into any checkpoint."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "f").write_text("SECRET")
    (folder / "whisper").write_text("SECRET")
    for path in (folder, *folder.iterdir()):  # that it is not the sandbox's own must not be what saves us
        os.chown(path, UID, UID)
    return folder


def swapped(tree: Tree, outside: Path, name: str) -> None:
    """Put a link to the host's own in the place of a file (f) or directory (d) of the tree, as a tool would."""
    path = tree.workspace / name
    path.rename(tree.workspace / f"was_{name}")
    path.symlink_to(outside if name == "d" else outside / "f")
    os.chown(path, UID, UID, follow_symlinks=False)


@pytest.mark.parametrize("name", ["d", "f"])
@pytest.mark.parametrize("moment", ["before the scan opens it", "before the plan reads it", "before the copy reads it"])
def test_a_tool_that_swaps_files_for_links_gets_nothing_from_outside_into_a_checkpoint(
    tree: Tree, outside: Path, name: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree.workspace / "d").mkdir()
    for path in (tree.workspace / "f", tree.workspace / "d" / "f"):
        path.write_text("public")  # as long as the secret: compared before it is copied
    tree.checkpoint()
    for path in (tree.workspace / "f", tree.workspace / "d" / "f"):
        path.write_text("Public")
    swap = partial(swapped, tree, outside, name)
    with monkeypatch.context() as patch:
        match moment:
            case "before the scan opens it":
                _before(patch, checkpoint_scan._Scanner, "enter", swap, when=lambda args: args[2] == "d")
            case "before the plan reads it":
                _before(patch, FileCopier, "plan", swap)
            case _:
                _before(patch, FileCopier, "copy", swap)
        tree.work.checkpoint(deadline(), lambda: None)
    assert tree.work._history is not None
    assert "whisper" not in tree.work._history.table.get("workspace/d", {})
    tree.checkpoint()
    assert (tree.workspace / name).is_symlink()
    for pack in packs(tree):
        assert b"SECRET" not in tree.store.read(SESSION, pack, 0, 10_000_000)


def _before(
    patch: pytest.MonkeyPatch,
    where: Any,
    method: str,
    act: Callable[[], None],
    *,
    when: Callable[[tuple[Any, ...]], bool] = lambda _: True,
) -> None:
    """Have *act* done once, right before *method* runs with arguments that *when* accepts."""
    real, done = getattr(where, method), list[bool]()

    def wrapped(self: Any, *args: Any) -> Any:
        if not done and when(args):
            done.append(True)
            act()
        return real(self, *args)

    patch.setattr(where, method, wrapped)


def test_a_tool_that_swaps_files_all_the_time_gets_nothing_from_outside_either(tree: Tree, outside: Path) -> None:
    work = tree.workspace
    (work / "d").mkdir()
    for path in (work / "f", work / "d" / "f"):
        path.write_text("mine")
    (work / "dlink").symlink_to(outside)
    (work / "flink").symlink_to(outside / "f")
    tree.own()

    def swap(number: int) -> None:
        for name in ("d", "f"):
            for old, new in ((name, "x"), (f"{name}link", name), (name, f"{name}link"), ("x", name)):
                os.rename(work / old, work / new)
        (work / "d" / "f").write_text(f"change {number}")

    with Churn(swap):
        for _ in range(50):
            tree.work.checkpoint(deadline(), lambda: None)
    for pack in packs(tree):
        assert b"SECRET" not in tree.store.read(SESSION, pack, 0, 10_000_000)


def test_a_change_within_one_tick_of_the_clock_cannot_hide(tmp_path: Path) -> None:
    """Clocks of file systems stand still for some milliseconds: two changes may bear the same time."""
    (tmp_path / "f").write_text("x")
    facts = (tmp_path / "f").stat()
    assert told_apart(facts, facts.st_ctime_ns + 5_000_000) == 0
    assert told_apart(facts, facts.st_ctime_ns + 50_000_000) == facts.st_ctime_ns


def _entry(kind: int, **facts: Any) -> Entry:
    return Entry(kind | 0o777, **facts)


@pytest.mark.parametrize(
    "changes",
    [
        {"workspace": {"../x": _entry(stat.S_IFDIR)}},
        {"workspace": {"..": _entry(stat.S_IFDIR)}},
        {"workspace": {"a/b": _entry(stat.S_IFDIR)}},
        {"workspace": {"": _entry(stat.S_IFDIR)}},
        {"workspace": {"x" * 256: _entry(stat.S_IFDIR)}},
        {"workspace": {"a\0b": _entry(stat.S_IFDIR)}},
        {"workspace/../..": {"x": _entry(stat.S_IFDIR)}},
        {"/etc": {"x": _entry(stat.S_IFDIR)}},
        {"workspace": {"x": _entry(stat.S_IFIFO)}},
        {"workspace": {"x": _entry(stat.S_IFBLK)}},
        {"workspace": {"x": _entry(stat.S_IFREG)}},
        {"workspace": {"x": _entry(stat.S_IFREG, size=-1, digest="0" * 32)}},
        {"workspace": {"x": _entry(stat.S_IFREG, size=5, digest="0" * 32, extents=((3, 4),))}},
    ],
)
def test_a_manifest_with_names_or_figures_that_lead_astray_is_refused(changes: Any) -> None:
    data = encode(Manifest(1, "o", None, {}, changes))
    with pytest.raises(DamagedPack):
        decode(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"version":1}', b"null", b'"x"', b"\xff"])
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedPack):
        decode(data)


def test_links_in_a_checkpoint_never_lead_the_restore_out(tree: Tree, tmp_path: Path) -> None:
    """A manifest that names a link and, below the same name, a directory with files."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree.workspace / "d").mkdir()
    (tree.workspace / "d" / "f").write_text("into the host")
    tree.checkpoint()
    stored = load_version(tree.store, SESSION, stored_names(tree.store, SESSION), PackName(1, "h_1"))
    link = Entry(stat.S_IFLNK | 0o777, target=str(outside))
    stored.table["workspace"]["d"] = link
    stored.table[""]["home"] = link
    with tree.store.writing(SESSION, str(PackName(2, "evil"))) as sink:
        PackWriter(sink).finish(Manifest(2, "o", None, stored.manifest.packs, stored.table))
    there = tmp_path / "there"
    tree.restored_into(there)
    assert os.listdir(outside) == []
    assert os.readlink(there / "workspace" / "d") == str(outside)
    assert not (there / "home").is_symlink()


def test_a_directory_that_is_swapped_for_a_link_during_a_restore_leads_nowhere(tree: Tree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(300):
        (tree.workspace / f"d{number}").mkdir()
        (tree.workspace / f"d{number}" / "f").write_text("x")
    tree.checkpoint()
    there = tmp_path / "there"

    def swap(_: int) -> None:
        for number in range(300):
            try:
                os.rename(there / "workspace" / f"d{number}", there / "workspace" / f"away{number}")
                os.symlink(outside, there / "workspace" / f"d{number}")
            except OSError:
                continue

    with Churn(swap), suppress(OSError):
        tree.restored_into(there)
    assert os.listdir(outside) == []


def test_every_cut_and_every_flipped_byte_of_a_pack_is_noticed(tree: Tree, tmp_path: Path) -> None:
    (tree.workspace / "f").write_bytes(b"0123456789" * 10)
    tree.checkpoint()
    pack = tmp_path / "store" / SESSION / packs(tree)[0]
    whole = pack.read_bytes()
    good = snapshot(tree.base)
    for position in range(0, len(whole), 3):
        for damaged in (whole[:position], whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]):
            pack.write_bytes(damaged)
            target = tmp_path / f"try{next(_places)}"
            try:
                report = tree.restored_into(target)
            except DamagedPack:
                continue
            assert report.damaged == ["workspace/f"] or snapshot(target) == good


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
