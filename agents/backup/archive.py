"""The two forms of a backup: a directory, or one tar file (gzip by its name).

Written beside their place and renamed when they are whole and on the disk: invariant: what has a backup's name is
complete. Read back into a directory, file by file, by names that stay in it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from agents.backup.manifest import NAME, BadBackup, FileEntry, Manifest
from agents.disk import sync_directory

PIECE_BYTES = 4 * 1024**2
_GZIP = (".gz", ".tgz")
_TAR = (".tar", *_GZIP)
_PRIVATE = 0o600
_GZIP_LEVEL = 1
"""tarfile's own 9 takes three times as long, for a twelfth less of a log's text (benchmarks.bench_backup)."""


class Archive(Protocol):
    """Where files are added to."""

    def add(self, name: str, source: IO[bytes], size: int) -> FileEntry:
        """Write *size* bytes of *source* under *name*. Raises OSError, also when there are fewer."""
        ...


def is_file_form(place: Path) -> bool:
    """Whether a backup of this name is one file."""
    return place.suffix in _TAR


@contextmanager
def writing(place: Path) -> Generator[Archive]:
    """Write a backup: it is at *place* once the block has ended well, and not at all when the block raises.

    Raises BadBackup when there is something already, OSError.
    """
    if place.exists():
        raise BadBackup(f"{place} is there already; name another place")
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.writing-{os.getpid()}")
    try:
        if is_file_form(place):
            yield from _writing_file(draft, place)
        else:
            draft.mkdir(mode=0o700)
            yield _Folder(draft)
            sync_tree(draft)
        draft.rename(place)
        sync_directory(place.parent)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)


def _writing_file(draft: Path, place: Path) -> Generator[Archive]:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with open(descriptor, "wb") as out:
        with (
            _packing(out) if place.suffix in _GZIP else nullcontext(out) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield _Tar(tar)
        out.flush()
        os.fsync(out.fileno())


def _packing(out: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=out)


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, name: str, source: IO[bytes], size: int | None = None) -> FileEntry:
        """See Archive.add; without *size* all there is."""
        file = self._root / name
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        digesting, done = _Digesting(source), 0
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        with open(descriptor, "wb") as out:
            while piece := digesting.read(PIECE_BYTES if size is None else min(PIECE_BYTES, size - done)):
                out.write(piece)
                done += len(piece)
            out.flush()
            os.fsync(out.fileno())
        if size is not None and done < size:
            raise OSError(f"{name} ended after {done} of {size} bytes")
        return FileEntry(name=name, size=done, sha256=digesting.digest.hexdigest())


class _Tar:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, source: IO[bytes], size: int) -> FileEntry:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, _PRIVATE
        digesting = _Digesting(source)
        self._tar.addfile(member, digesting)  # pyright: ignore[reportArgumentType] - it only reads
        return FileEntry(name=name, size=size, sha256=digesting.digest.hexdigest())


class _Digesting:
    """A source that is digested as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


def add_bytes(archive: Archive, name: str, data: bytes) -> FileEntry:
    """Add a small file."""
    return archive.add(name, BytesIO(data), len(data))


def unpack(place: Path, into: Path, told: Callable[[int], None]) -> Manifest:
    """Copy a backup's files into the empty directory *into*, and hold each against the manifest.

    *told* is called with the number of bytes that were written since the last call. Raises BadBackup, which names every
    file that is damaged, missing or nobody's; OSError. What was written by then stays.
    """
    found: dict[str, FileEntry] = {}
    manifest: Manifest | None = None
    try:
        for name, source in _members(place):
            if name == NAME:
                manifest = Manifest.parse(source.read())
                continue
            found[name] = _Folder(into).add(name, source)
            told(found[name].size)
    except FileNotFoundError:
        raise BadBackup(f"{place} is not there") from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadBackup(f"{place} is cut off or damaged, nothing was restored: {error}") from error
    sync_tree(into)
    if manifest is None:
        raise BadBackup(f"{place} has no {NAME}: it is no backup, or was cut off")
    _compare(manifest, found)
    return manifest


def _compare(manifest: Manifest, found: dict[str, FileEntry]) -> None:
    wanted = {entry.name: entry for entry in manifest.files}
    faults = [f"{name}: missing" for name in wanted.keys() - found.keys()]
    faults += [f"{name}: not in the manifest" for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        if found[name] != wanted[name]:
            faults.append(
                f"{name}: damaged ({found[name].size} of {wanted[name].size} bytes, or its digest is another)"
            )
    if faults:
        raise BadBackup("the backup is not whole, nothing was restored:\n" + "\n".join(sorted(faults)))


def _members(place: Path) -> Generator[tuple[str, IO[bytes]]]:
    """Yield every file of a backup by its name. Raises BadBackup, and what tarfile raises."""
    if place.is_dir():
        for file in sorted(path for path in place.rglob("*") if path.is_symlink() or not path.is_dir()):
            if file.is_symlink() or not file.is_file():
                raise BadBackup(f"{file} is no plain file")
            with file.open("rb") as source:
                yield file.relative_to(place).as_posix(), source
        return
    with tarfile.open(place, mode="r|*") as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isreg() else None
            if source is None or not _stays_inside(member.name):
                raise BadBackup(f"{place}: {member.name[:200]!r} is no plain file of a backup")
            yield member.name, source


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def sync_tree(root: Path) -> None:
    """Bring the names in *root*, and in all below it, to the disk."""
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        sync_directory(folder)
