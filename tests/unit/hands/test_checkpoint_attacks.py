"""What tools and stores may try: links in the place of files, manifests that lead astray, damage."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agents.hands import checkpoint_scan
from agents.hands.checkpoint_copy import FileCopier, told_apart
from agents.hands.checkpoint_history import load_version, stored_names
from agents.hands.checkpoint_manifest import DamagedPack, Entry, Manifest, decode, encode
from agents.hands.checkpoint_pack import PackName, PackWriter
from agents.hands.checkpoint_store import LocalStore
from tests.unit.hands.checkpoint_tree import SESSION, UID, Churn, Tree, deadline, packs, snapshot


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "files", LocalStore(tmp_path / "store"))


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
            target = tmp_path / f"try{position}-{len(damaged)}"
            try:
                report = tree.restored_into(target)
            except DamagedPack:
                continue
            assert report.damaged == ["workspace/f"] or snapshot(target) == good
