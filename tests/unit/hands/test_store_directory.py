"""A memory store's directory in a sandbox.

Bug class this catches: a file of the agent's that makes the server read outside of the sandbox, wait, or read without
end; a directory that is taken for empty because it is gone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.hands import store_directory
from agents.hands.file_root import FileRoot
from agents.hands.store_directory import StoreDirectory
from agents.memory.mirror import Directory
from agents.memory.rules import MAX_CONTENT_BYTES


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "sandbox/memory").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "sandbox"


@pytest.fixture
def directory(base: Path) -> Iterator[Directory]:
    fd = os.open(base, os.O_PATH | os.O_DIRECTORY)
    files = FileRoot(fd, home=str(base), outside=str(base))
    yield StoreDirectory(files, f"{base}/memory")
    files.close()


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_what_is_written_is_there_and_goes_with_its_empty_directories(directory: Directory, base: Path) -> None:
    await directory.write("/a/b/ü.md", "é")
    await directory.write("/a/c", "")
    await directory.write("/a/c", "two")
    assert await directory.digests() == {"/a/b/ü.md": sha("é"), "/a/c": sha("two")}
    assert await directory.read("/a/b/ü.md") == "é"
    await directory.remove("/a/b/ü.md")
    assert not (base / "memory/a/b").exists() and (base / "memory/a/c").exists()
    await directory.remove("/a/c")
    await directory.remove("/a/c")
    assert await directory.digests() == {} and (base / "memory").is_dir()


async def test_a_directory_that_is_gone_is_not_an_empty_one(directory: Directory, base: Path) -> None:
    (base / "memory").rmdir()
    assert await directory.digests() is None
    await directory.write("/a", "back")
    assert await directory.digests() == {"/a": sha("back")}


async def test_links_pipes_and_what_is_outside_are_not_read(directory: Directory, base: Path) -> None:
    root = base / "memory"
    (root / "link").symlink_to("/etc/passwd")
    (root / "out").symlink_to(base.parent / "secret")
    (root / "dir").symlink_to(base.parent)
    os.mkfifo(root / "pipe")
    (root / "fine").write_text("yes")
    assert await directory.digests() == {"/fine": sha("yes")}
    for path in ("/out", "/dir/secret", "/pipe", "/../../secret"):
        with pytest.raises(OSError):
            await directory.read(path)
    with pytest.raises(OSError):
        await directory.write("/out", "overwritten")
    assert (base.parent / "secret").read_text() == "secret"


async def test_what_cannot_be_a_memory_has_a_digest_that_no_text_has(directory: Directory, base: Path) -> None:
    root = base / "memory"
    (root / "large").write_bytes(b"x" * (MAX_CONTENT_BYTES + 1))
    (root / "binary").write_bytes(b"\xff\xfe")
    found = await directory.digests()
    assert found is not None and found["/large"].startswith("large ") and len(found["/binary"]) == 64
    with pytest.raises(OSError):
        await directory.read("/large")
    assert await directory.read("/binary") is None


async def test_too_many_files_and_too_deep_directories_are_not_walked(
    directory: Directory, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "memory" / "/".join("d" * 19)).mkdir(parents=True)
    (base / "memory" / "/".join("d" * 19) / "last").write_text("")
    (base / "memory" / "/".join("d" * 19) / "d/e").mkdir(parents=True)
    (base / "memory" / "/".join("d" * 20) / "deep").write_text("")
    found = await directory.digests()
    assert found is not None and list(found) == ["/" + "/".join("d" * 19) + "/last"]
    monkeypatch.setattr(store_directory, "MOST_ENTRIES", 3)
    with pytest.raises(OSError, match="more than 3"):
        await directory.digests()
