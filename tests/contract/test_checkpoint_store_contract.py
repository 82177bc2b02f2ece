"""What every store of checkpoints must do; run against a local directory, an fsspec file system, and S3's protocol.

Bug class this catches: an object that can be seen before it is whole, or after its writer failed; a listing
that lags behind; a failure that is taken for "nothing there".
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from agents.config import CheckpointSettings
from agents.hands.checkpoint_store import CheckpointStore, FsspecStore, LocalStore, StoreUnavailable, open_store

_buckets = itertools.count()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def s3_settings(server: str, monkeypatch: pytest.MonkeyPatch) -> CheckpointSettings:
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = f"bucket{next(_buckets)}"
    fsspec.filesystem("s3", endpoint_url=server).mkdir(bucket)
    return CheckpointSettings(url=f"s3://{bucket}/a/prefix", endpoint_url=server, timeout_seconds=10)


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointStore:
    match request.param:
        case "local":
            settings = CheckpointSettings()
        case "memory":
            settings = CheckpointSettings(url=f"memory://{tmp_path}")
        case _:
            settings = s3_settings(request.getfixturevalue("s3_server"), monkeypatch)
    opened = open_store(settings, tmp_path)
    assert opened is not None
    return opened


def put(store: CheckpointStore, folder: str, name: str, *parts: bytes) -> None:
    with store.writing(folder, name) as sink:
        for part in parts:
            sink.write(part)


def test_what_was_written_is_read_back_in_any_part(store: CheckpointStore) -> None:
    put(store, "sesn_a", "one", b"0123", b"456789")
    assert store.sizes("sesn_a") == {"one": 10}
    assert store.read("sesn_a", "one", 0, 10) == b"0123456789"
    assert store.read("sesn_a", "one", 3, 4) == b"3456"
    assert store.read("sesn_a", "one", 8, 100) == b"89"


def test_a_large_object_goes_through_in_parts(store: CheckpointStore) -> None:
    parts = [os.urandom(1024 * 1024) for _ in range(18)]
    put(store, "sesn_a", "large", *parts)
    assert store.sizes("sesn_a") == {"large": 18 * 1024 * 1024}
    assert store.read("sesn_a", "large", 17 * 1024 * 1024, 2 * 1024 * 1024) == parts[-1]


@pytest.mark.parametrize("megabytes", [0, 18])
def test_an_object_whose_writer_fails_never_exists(store: CheckpointStore, megabytes: int) -> None:
    with pytest.raises(RuntimeError), store.writing("sesn_a", "half") as sink:
        for _ in range(megabytes + 1):
            sink.write(bytes(1024 * 1024))
        in_memory = isinstance(store, FsspecStore) and "memory" in store._fs.protocol
        assert in_memory or store.sizes("sesn_a") == {}
        raise RuntimeError
    assert store.sizes("sesn_a") == {}
    with pytest.raises(FileNotFoundError):
        store.read("sesn_a", "half", 0, 1)


def test_folders_are_apart_and_one_that_does_not_exist_is_empty(store: CheckpointStore) -> None:
    put(store, "sesn_a", "x", b"a")
    put(store, "sesn_ab", "x", b"bb")
    assert store.sizes("sesn_a") == {"x": 1}
    assert store.sizes("sesn_none") == {}


def test_removing_is_seen_at_once_and_may_be_repeated(store: CheckpointStore) -> None:
    for name in ("x", "y", "z"):
        put(store, "sesn_a", name, b"1")
    store.remove("sesn_a", ["x", "none"])
    store.remove("sesn_a", ["x"])
    assert set(store.sizes("sesn_a")) == {"y", "z"}
    store.remove_folder("sesn_a")
    store.remove_folder("sesn_a")
    store.remove_folder("sesn_never")
    assert store.sizes("sesn_a") == {}
    put(store, "sesn_a", "x", b"again")
    assert store.sizes("sesn_a") == {"x": 5}


def test_threads_may_write_beside_each_other(store: CheckpointStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(store, f"sesn_{number % 3}", f"{number}", b"x" * number), range(24)))
    assert sum(len(store.sizes(f"sesn_{number}")) for number in range(3)) == 24
    assert store.read("sesn_2", "23", 0, 100) == b"x" * 23


def test_off_is_no_store_and_a_file_url_a_directory(tmp_path: Path) -> None:
    assert open_store(CheckpointSettings(mode="off"), tmp_path) is None
    store = open_store(CheckpointSettings(url=f"file://{tmp_path}/there"), tmp_path / "data")
    assert isinstance(store, LocalStore)
    put(store, "sesn_a", "x", b"1")
    assert (tmp_path / "there" / "sesn_a" / "x").read_bytes() == b"1"
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o700


def test_a_kind_of_url_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="nosuch://bucket"):
        open_store(CheckpointSettings(url="nosuch://bucket"), tmp_path)


def test_a_store_that_is_not_there_fails_in_our_words(monkeypatch: pytest.MonkeyPatch, s3_server: str) -> None:
    settings = s3_settings(s3_server, monkeypatch).model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    store = open_store(settings, Path("/nonexistent"))
    assert isinstance(store, FsspecStore)
    with pytest.raises(StoreUnavailable):
        store.sizes("sesn_a")
    with pytest.raises(StoreUnavailable):
        put(store, "sesn_a", "x", b"1")


def test_a_local_disk_that_is_full_fails_and_leaves_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    put(store, "sesn_a", "before", b"1")
    (tmp_path / "sesn_b").write_text("a file where a folder should be")
    with pytest.raises(StoreUnavailable):
        put(store, "sesn_b", "x", b"1")
    os.symlink("/dev/full", tmp_path / "full")
    with pytest.raises(StoreUnavailable), open("/dev/full", "wb", buffering=0) as full:
        # The same path as for a file of ours: a write that the disk refuses.
        from agents.hands import checkpoint_store

        checked = checkpoint_store._Checked(lambda data: checkpoint_store._write_all(full.fileno(), data))
        checked.write(b"1")
    assert os.listdir(tmp_path / "sesn_a") == ["before"]


def test_what_goes_during_a_listing_takes_nothing_else_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    for name in "abc":
        put(store, "sesn_a", name, b"1")
    scandir = os.scandir

    @contextmanager
    def listed(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        os.unlink(found[0].path)
        yield found

    monkeypatch.setattr(os, "scandir", listed)
    assert store.sizes("sesn_a").keys() == {"b", "c"}


def test_what_a_dead_writer_left_half_written_is_not_listed_and_goes_in_time(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    put(store, "sesn_a", "whole", b"1")
    for name, age in ((".old.abcd", 7200), (".young.abcd", 0)):
        half = tmp_path / "sesn_a" / name
        half.write_bytes(b"half")
        os.utime(half, (half.stat().st_mtime - age,) * 2)
    assert store.sizes("sesn_a") == {"whole": 1}
    assert set(os.listdir(tmp_path / "sesn_a")) == {"whole", ".young.abcd"}
