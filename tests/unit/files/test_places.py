"""Where bytes are kept, a directory or S3: the same of either, and a sweep removes files' bytes and nothing else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from agents.clock import ManualClock
from agents.errors import PayloadTooLarge
from agents.files.blobs import Blob, Blobs
from agents.files.service import Files, NewFile
from agents.files.settings import FileSettings
from agents.hands.checkpoint_store import CheckpointStore, open_place
from agents.skills.archive_store import StoredArchives
from agents.store.memory import MemoryStore

BUCKET = "files-places"


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckpointStore]:
    if request.param == "directory":
        yield open_place("files", FileSettings(), tmp_path / "files")
        return
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        fsspec.filesystem("s3", endpoint_url=url).mkdir(BUCKET)
        yield open_place("files", FileSettings(url=f"s3://{BUCKET}/prefix", endpoint_url=url), tmp_path)
    finally:
        server.stop()


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


async def test_bytes_come_go_and_are_swept_and_archives_of_skills_stay(store: CheckpointStore, tmp_path: Path) -> None:
    clock, archives = ManualClock(), StoredArchives(store)
    files = Files(MemoryStore().files, Blobs(store), clock, FileSettings(max_bytes=8_000_000))
    await archives.put("skill_1", "skver_1", b"an archive")
    contents = [os.urandom(6_500_000), b"small"]
    kept, lost = [
        await files.add(await files.stage(chunks(data)), NewFile.checked("a.bin", None, None), "wrkspc_1")
        for data in contents
    ]
    assert kept.sha256 == hashlib.sha256(contents[0]).hexdigest()
    part = b"".join([piece async for piece in files.content(kept, 1_000_000, 2_500_000)])
    assert part == contents[0][1_000_000:3_500_000]
    await files.blobs.copy_to(Blob(kept.sha256, kept.size), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == contents[0]
    with pytest.raises(PayloadTooLarge):
        await files.stage(chunks(bytes(8_000_001)))
    assert store.sizes("staged") == {}
    await files.delete(lost.id)
    clock.advance(2 * 3600)
    await files.sweep()
    assert store.sizes(f"blobs/{lost.sha256[:2]}").get(lost.sha256) is None
    assert await files.whole(kept) == contents[0]
    # Whoever sweeps looks at no folder but its own.
    assert await archives.get("skill_1", "skver_1", 10) == b"an archive"
