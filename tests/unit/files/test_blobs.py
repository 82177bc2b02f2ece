"""The blob store: bytes come in pieces, are named by what they are, and never half there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.clock import ManualClock
from agents.errors import PayloadTooLarge
from agents.files.blobs import Blob, Blobs
from agents.files.records import OutputBounds
from agents.files.service import Files
from agents.files.settings import FileSettings
from agents.hands.checkpoint_store import LocalStore, StoreUnavailable
from agents.store.memory import MemoryStore


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(LocalStore(tmp_path))


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def everything(place: Path) -> list[str]:
    return sorted(os.path.relpath(os.path.join(at, name), place) for at, _, names in os.walk(place) for name in names)


async def test_a_content_is_named_by_its_digest_and_read_in_any_part(blobs: Blobs, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    staged = await blobs.stage(chunks(content[:10], b"", content[10:2_000_000], content[2_000_000:]), most=3_000_000)
    digest = hashlib.sha256(content).hexdigest()
    assert staged.blob == Blob(digest, len(content))
    await blobs.keep(staged)
    assert everything(tmp_path) == [f"blobs/{digest[:2]}/{digest}"]
    assert await blobs.whole(staged.blob) == content
    assert b"".join([piece async for piece in blobs.read(digest, 999_999, 1_500_000)]) == content[999_999:2_499_999]
    target = tmp_path / "copy"
    await blobs.copy_to(staged.blob, target)
    assert target.read_bytes() == content


async def test_what_is_known_to_be_too_large_is_not_read(blobs: Blobs, tmp_path: Path) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    files = Files(MemoryStore().files, blobs, ManualClock(), FileSettings(max_bytes=10))
    most = OutputBounds(10, 10**6)
    with pytest.raises(PayloadTooLarge):
        await files.add_output(unread(), 11, "sesn_1", "a", "wrkspc_1", most)
    kept = await files.add_output(chunks(b"0123456789"), 10, "sesn_1", "a", "wrkspc_1", most)
    assert await files.whole(kept) == b"0123456789"


async def test_an_empty_content_is_one_too(blobs: Blobs) -> None:
    staged = await blobs.stage(chunks(), most=1)
    await blobs.keep(staged)
    assert await blobs.whole(staged.blob) == b""


async def test_the_same_content_is_kept_once(blobs: Blobs, tmp_path: Path) -> None:
    for _ in range(2):
        await blobs.keep(await blobs.stage(chunks(b"same"), most=4))
    assert len(everything(tmp_path)) == 1


async def test_too_much_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(PayloadTooLarge):
        await blobs.stage(chunks(b"x" * 2_000_000, b"y" * 2_000_000), most=3_999_999)
    assert everything(tmp_path) == []


async def test_a_sender_who_breaks_off_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.stage(broken(), most=10_000_000)
    assert everything(tmp_path) == []


async def test_what_is_dropped_or_deleted_is_gone(blobs: Blobs, tmp_path: Path) -> None:
    await blobs.drop(await blobs.stage(chunks(b"a"), most=1))
    staged = await blobs.stage(chunks(b"b"), most=1)
    await blobs.keep(staged)
    await blobs.delete(staged.blob.sha256)
    await blobs.delete(staged.blob.sha256)
    assert everything(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        await blobs.whole(staged.blob)


async def test_a_blob_that_is_shorter_than_its_size_is_an_error(blobs: Blobs) -> None:
    staged = await blobs.stage(chunks(b"abc"), most=3)
    await blobs.keep(staged)
    with pytest.raises(StoreUnavailable):
        await blobs.whole(Blob(staged.blob.sha256, 4))


async def test_what_was_staged_long_ago_is_dropped_and_what_is_being_written_is_not(
    blobs: Blobs, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    with store.writing("staged", "1000-old") as sink:
        sink.write(b"x")
    staged = await blobs.stage(chunks(b"new"), most=3)
    assert await blobs.drop_abandoned() == 1
    assert everything(tmp_path) == [f"staged/{staged.name}"]
