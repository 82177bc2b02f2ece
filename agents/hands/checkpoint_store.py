"""Where checkpoints are kept: named byte strings in folders, one folder per session.

Two implementations: a local directory (the default), and anything that fsspec can reach (S3 and the like).
Everything here blocks and is for worker threads. Invariants: an object whose writing failed is gone, none is
ever changed, and a local one is on the disk (fsync of the file, then of its directory) before ``writing``
ends; what is not there is a FileNotFoundError, every other failure a :class:`StoreUnavailable`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from agents.config import CheckpointSettings
from agents.disk import sync_directory
from agents.errors import HecatonError

_STALE_SECONDS = 3600.0
"""A half-written local file is this old before it counts as left by a dead host."""
_BLOCK_BYTES = 8 * 1024 * 1024
"""Part size of an upload: what one writer holds in memory (S3 takes 10 000 parts of at least 5 MiB)."""
_CONNECT_SECONDS = 10.0
_ATTEMPTS = 3


class StoreUnavailable(HecatonError):
    """The store of checkpoints cannot be used; the message says why."""

    http_status = 503


class Sink(Protocol):
    """An object that is being written."""

    def write(self, data: bytes, /) -> Any:
        """Append *data*, all of it."""
        ...


class CheckpointStore(Protocol):
    """Folders of objects."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the objects of *folder* with their sizes; empty when there is no such folder."""
        ...

    def writing(self, folder: str, name: str) -> AbstractContextManager[Sink]:
        """Write an object: it exists once the block has ended well, and not at all when the block raises."""
        ...

    def read(self, folder: str, name: str, start: int, length: int) -> bytes:
        """Return up to *length* bytes from *start*; fewer only at the object's end."""
        ...

    def move(self, folder: str, name: str, to_folder: str, to_name: str) -> None:
        """Give an object another place, in place of what may be there, which never has other bytes."""
        ...

    def remove(self, folder: str, names: Iterable[str]) -> None:
        """Delete objects; those that are gone do not matter."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Delete a folder with all that is in it; does nothing when it is gone."""
        ...


class LocalStore:
    """A directory of this machine, or of a file system that several machines share."""

    def __init__(self, directory: Path) -> None:
        self._root = str(directory)

    def sizes(self, folder: str) -> dict[str, int]:
        found: dict[str, int] = {}
        with _failures(), contextlib.suppress(FileNotFoundError), os.scandir(f"{self._root}/{folder}") as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # it alone has gone meanwhile
                    facts = entry.stat(follow_symlinks=False)
                    if not entry.name.startswith("."):
                        found[entry.name] = facts.st_size
                    elif facts.st_mtime < time.time() - _STALE_SECONDS:
                        os.unlink(entry.path)
        return found

    @contextmanager
    def writing(self, folder: str, name: str) -> Generator[Sink]:
        directory = f"{self._root}/{folder}"
        scratch = f"{directory}/.{name}.{secrets.token_hex(4)}"
        with _failures():
            made = _make_directory(directory)
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                yield _Checked(lambda data: _write_all(fd, data))
                with _failures():
                    os.fsync(fd)
            finally:
                os.close(fd)
            with _failures():
                os.rename(scratch, f"{directory}/{name}")
                for changed in (directory, *made):
                    sync_directory(changed)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)
            raise

    def read(self, folder: str, name: str, start: int, length: int) -> bytes:
        with _failures(), open(f"{self._root}/{folder}/{name}", "rb", buffering=0) as file:
            pieces: list[bytes] = []
            while length > 0 and (piece := os.pread(file.fileno(), length, start)):
                pieces.append(piece)
                start, length = start + len(piece), length - len(piece)
            return b"".join(pieces)

    def move(self, folder: str, name: str, to_folder: str, to_name: str) -> None:
        directory = f"{self._root}/{to_folder}"
        with _failures():
            made = _make_directory(directory)
            os.rename(f"{self._root}/{folder}/{name}", f"{directory}/{to_name}")
            for changed in (directory, *made):
                sync_directory(changed)

    def remove(self, folder: str, names: Iterable[str]) -> None:
        for name in names:
            with _failures(), contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._root}/{folder}/{name}")

    def remove_folder(self, folder: str) -> None:
        with _failures(), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(f"{self._root}/{folder}")


class _Checked:
    """A sink whose failures are the store's, not those of who writes."""

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self._write = write

    def write(self, data: bytes) -> None:
        with _failures():
            self._write(data)


class FsspecStore:
    """Anything that fsspec reaches. On object stores (S3 and the like) one object is one upload, visible only whole.

    Elsewhere one may be seen half for a while; packs tell by their end whether they are whole.
    """

    def __init__(self, filesystem: Any, prefix: str) -> None:
        self._fs = filesystem
        self._prefix = prefix.rstrip("/")

    def sizes(self, folder: str) -> dict[str, int]:
        with _failures(), contextlib.suppress(FileNotFoundError):
            # Listings are cached by many file systems, and here others write.
            self._fs.invalidate_cache(f"{self._prefix}/{folder}")
            found: list[dict[str, Any]] = self._fs.ls(f"{self._prefix}/{folder}", detail=True)
            return {entry["name"].rpartition("/")[2]: entry["size"] for entry in found if entry["type"] == "file"}
        return {}

    @contextmanager
    def writing(self, folder: str, name: str) -> Generator[Sink]:
        path = f"{self._prefix}/{folder}/{name}"
        with _failures():
            self._fs.makedirs(f"{self._prefix}/{folder}", exist_ok=True)
            file = self._fs.open(path, "wb", block_size=_BLOCK_BYTES, autocommit=False)
        try:
            yield _Checked(file.write)
            with _failures():
                file.close()
                file.commit()
        except BaseException:
            with _failures(), contextlib.suppress(FileNotFoundError):
                file.discard()
                self._fs.rm_file(path)
            raise

    def read(self, folder: str, name: str, start: int, length: int) -> bytes:
        with _failures():
            return self._fs.cat_file(f"{self._prefix}/{folder}/{name}", start=start, end=start + length)

    def move(self, folder: str, name: str, to_folder: str, to_name: str) -> None:
        with _failures():
            self._fs.makedirs(f"{self._prefix}/{to_folder}", exist_ok=True)
            self._fs.mv(f"{self._prefix}/{folder}/{name}", f"{self._prefix}/{to_folder}/{to_name}")

    def remove(self, folder: str, names: Iterable[str]) -> None:
        for name in names:
            with _failures(), contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._prefix}/{folder}/{name}")

    def remove_folder(self, folder: str) -> None:
        with _failures(), contextlib.suppress(FileNotFoundError):
            self._fs.invalidate_cache(f"{self._prefix}/{folder}")
            self._fs.rm(f"{self._prefix}/{folder}", recursive=True)


def open_store(settings: CheckpointSettings, data_dir: Path) -> CheckpointStore | None:
    """Return the configured store, None when checkpoints are off.

    Raises StoreUnavailable for an URL of a kind that is not installed (S3 needs ``pip install 'hecaton[s3]'``).
    """
    if settings.mode == "off":
        return None
    return open_place("checkpoints", settings, data_dir / "checkpoints")


class Place(Protocol):
    """The settings of a store: where it is, and how it is reached."""

    @property
    def url(self) -> str | None: ...

    @property
    def endpoint_url(self) -> str | None: ...

    @property
    def timeout_seconds(self) -> float: ...


def open_place(section: str, place: Place, default: Path) -> CheckpointStore:
    """Return the store at a place, by default a directory; *section* of the settings is named in messages.

    Raises StoreUnavailable for an URL of a kind that is not installed.
    """
    if place.url is None:
        return LocalStore(default)
    protocol, _, path = place.url.rpartition("://")
    if protocol in ("", "file"):
        return LocalStore(Path(path))
    import fsspec  # pyright: ignore[reportMissingTypeStubs]  # here: 0.1 s, and the default does without

    try:
        with _failures():
            filesystem: Any = fsspec.filesystem(protocol, **_options(protocol, place))  # pyright: ignore[reportUnknownMemberType]
            filesystem.retries = 1  # s3fs repeats what the client below it has repeated already
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{section}.url: {place.url}: {error.message}") from error
    return FsspecStore(filesystem, path)


def _options(protocol: str, place: Place) -> dict[str, Any]:
    if protocol not in ("s3", "s3a"):
        return {}
    limits: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": place.timeout_seconds,
        "retries": {"total_max_attempts": _ATTEMPTS, "mode": "standard"},
    }
    return {"endpoint_url": place.endpoint_url, "config_kwargs": limits, "use_listings_cache": False}


@contextmanager
def _failures() -> Generator[None]:
    """Turn what a file system raises into StoreUnavailable; only a missing object stays what it is."""
    try:
        yield
    except (FileNotFoundError, StoreUnavailable):
        raise
    except Exception as error:  # every fsspec driver has errors of its own
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


def _make_directory(path: str) -> list[str]:
    """Make a directory and its parents; returns the directories whose entries have changed, deepest first."""
    changed: list[str] = []
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        above = _make_directory(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        changed = [parent, *above]
    return changed


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
