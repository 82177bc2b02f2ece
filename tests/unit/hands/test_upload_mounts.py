"""Uploaded files in a sandbox's directory: exactly those that are asked for, whole, and not the sandbox's to change."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agents.config import SandboxSettings
from agents.files.blobs import Blobs
from agents.hands.checkpoint_store import LocalStore, StoreUnavailable
from agents.hands.host import SandboxHost
from agents.hands.mounts import Mounts
from agents.hands.port import Mount, ToolCall, ToolResult, Workspace
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import UPLOADS, SandboxDirs
from agents.hands.upload_mounts import INSIDE, UploadMounts
from tests.unit.hands.results import said


class CountingStore(LocalStore):
    reads = 0
    failure: Exception | None = None
    failing = ""
    """The only content whose reads fail, if any."""
    at_read: Callable[[], object] | None = None

    def read(self, folder: str, name: str, start: int, length: int) -> bytes:
        self.reads += 1
        if self.at_read is not None:
            self.at_read()
        if self.failure is not None and self.failing in ("", name):
            raise self.failure
        return super().read(folder, name, start, length)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "store")


@pytest.fixture
def dirs(tmp_path: Path) -> SandboxDirs:
    (tmp_path / "sandbox" / UPLOADS).mkdir(parents=True)
    return SandboxDirs(tmp_path / "sandbox", None, tmp_path)


async def mount(store: LocalStore, path: str, content: bytes) -> Mount:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    blobs = Blobs(store)
    staged = await blobs.stage(chunks(), most=10**7)
    await blobs.keep(staged)
    return Mount("file", staged.blob.sha256, f"{INSIDE}/{path}", name=str(staged.blob.size))


def seen(dirs: SandboxDirs) -> dict[str, bytes]:
    root = dirs.of(UPLOADS)
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


async def test_files_appear_and_go_as_they_are_asked_for(store: CountingStore, dirs: SandboxDirs) -> None:
    maker = UploadMounts(Blobs(store))
    one, two = await mount(store, "a/b/one.txt", b"1"), await mount(store, "two.txt", b"")
    await maker.make("sesn_1", dirs, [one, two])
    assert seen(dirs) == {"a/b/one.txt": b"1", "two.txt": b""}
    await maker.make("sesn_1", dirs, [two])
    assert seen(dirs) == {"two.txt": b""}
    assert os.listdir(dirs.of(UPLOADS)) == ["two.txt"]
    await maker.make("sesn_1", dirs, [])
    assert os.listdir(dirs.of(UPLOADS)) == []


async def test_another_content_at_the_same_path_replaces_it(store: CountingStore, dirs: SandboxDirs) -> None:
    maker = UploadMounts(Blobs(store))
    await maker.make("sesn_1", dirs, [await mount(store, "a", b"old")])
    await maker.make("sesn_1", dirs, [await mount(store, "a", b"new")])
    assert seen(dirs) == {"a": b"new"}


async def test_what_is_there_is_not_fetched_again_also_by_another_host(store: CountingStore, dirs: SandboxDirs) -> None:
    mounts = [await mount(store, "a", b"1"), await mount(store, "b", b"2")]
    await UploadMounts(Blobs(store)).make("sesn_1", dirs, mounts)
    store.reads = 0
    await UploadMounts(Blobs(store)).make("sesn_1", dirs, mounts)
    assert store.reads == 0
    (dirs.of(UPLOADS) / "a").unlink()
    await UploadMounts(Blobs(store)).make("sesn_1", dirs, mounts)
    assert store.reads == 1 and seen(dirs) == {"a": b"1", "b": b"2"}


async def test_what_lies_there_without_a_note_is_not_believed(store: CountingStore, dirs: SandboxDirs) -> None:
    (dirs.of(UPLOADS) / "a").write_bytes(b"half")
    await UploadMounts(Blobs(store)).make("sesn_1", dirs, [await mount(store, "a", b"whole")])
    assert seen(dirs) == {"a": b"whole"}


async def test_files_are_everybodys_to_read_and_nobodys_to_write(store: CountingStore, dirs: SandboxDirs) -> None:
    before = os.umask(0o077)
    try:
        await UploadMounts(Blobs(store)).make("sesn_1", dirs, [await mount(store, "a/b", b"1")])
    finally:
        os.umask(before)
    assert stat.S_IMODE((dirs.of(UPLOADS) / "a" / "b").stat().st_mode) == 0o444
    assert stat.S_IMODE((dirs.of(UPLOADS) / "a").stat().st_mode) == 0o755


async def test_bytes_that_are_gone_are_left_out_and_a_store_that_is_away_is_told(
    store: CountingStore, dirs: SandboxDirs
) -> None:
    maker, there = UploadMounts(Blobs(store)), await mount(store, "there", b"1")
    gone = Mount("file", "0" * 64, f"{INSIDE}/gone", name="1")
    report = await maker.make("sesn_1", dirs, [gone, there])
    assert seen(dirs) == {"there": b"1"}
    assert report is not None and not report.problems and f"sandbox: {gone.path}." in report.notes[0]
    assert await maker.make("sesn_1", dirs, [there]) is None
    store.failure = StoreUnavailable("away")
    with pytest.raises(SandboxUnavailable, match="away"):
        await maker.make("sesn_1", dirs, [await mount(store, "other", b"2"), there])
    store.failure = None
    await maker.make("sesn_1", dirs, [await mount(store, "other", b"2"), there])
    assert seen(dirs) == {"other": b"2", "there": b"1"}


async def test_what_arrived_before_a_failure_is_not_fetched_again(store: CountingStore, dirs: SandboxDirs) -> None:
    mounts = [await mount(store, name, name.encode()) for name in ("a", "b", "c")]
    store.failing, store.failure = mounts[1].source, StoreUnavailable("away")
    with pytest.raises(SandboxUnavailable):
        await UploadMounts(Blobs(store)).make("sesn_1", dirs, mounts)
    store.reads, store.failure = 0, None
    await UploadMounts(Blobs(store)).make("sesn_1", dirs, mounts)
    assert store.reads == 2 and seen(dirs) == {"a": b"a", "b": b"b", "c": b"c"}


async def test_a_call_that_is_given_up_stops_in_the_midst_of_a_file(store: CountingStore, dirs: SandboxDirs) -> None:
    small, large = await mount(store, "a", b"1"), await mount(store, "b", bytes(8 * 1024**2))
    making = asyncio.create_task(UploadMounts(Blobs(store)).make("sesn_1", dirs, [small, large]))
    loop = asyncio.get_running_loop()
    store.at_read = lambda: loop.call_soon_threadsafe(making.cancel) if store.reads > 1 else None
    with pytest.raises(asyncio.CancelledError):
        await making
    assert store.reads == 2
    store.at_read, store.reads = None, 0
    await UploadMounts(Blobs(store)).make("sesn_1", dirs, [small, large])
    assert store.reads == 8 and set(seen(dirs)) == {"a", "b"}


@pytest.mark.parametrize("warm", [0, 1])
async def test_a_sandbox_reads_its_uploads_and_changes_nothing_of_them(
    store: CountingStore, place: Path, warm: int
) -> None:
    mounts = Mounts({"file": UploadMounts(Blobs(store))})
    host = SandboxHost(SandboxSettings(warm=warm), place / "root", mounts=mounts)
    await host.start()

    async def call(name: str, *wanted: Mount, **given: Any) -> ToolResult:
        calls = [ToolCall(secrets.token_hex(8), name, given)]
        (result,) = [each async for each in host.execute(Workspace("sesn_a", mounts=wanted), calls)]
        return result

    try:
        one = await mount(store, "data/one.txt", b"first content\n")
        assert said(await call("bash", one, command=f"cat {one.path}")) == "first content"
        assert said(await call("read", one, file_path=one.path)).startswith("first content")
        before = said(await call("bash", one, command="echo $$"))
        denied = [f"echo x > {one.path}", f"rm {one.path}", f"touch {INSIDE}/new", f"chmod 777 {one.path}"]
        for command in denied:
            assert (await call("bash", one, command=command)).is_error, command
        assert (await call("write", one, file_path=one.path, content="x")).is_error
        two = await mount(store, "two.txt", b"2\n")
        # The same sandbox sees what was added, and no longer what was removed.
        assert said(await call("bash", two, command=f"echo $$; cat {two.path}; ls {INSIDE}")) == f"{before}\n2\ntwo.txt"
    finally:
        await host.stop()
