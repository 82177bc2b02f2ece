"""Writing a checkpoint's files into fresh directories.

The names and links in a checkpoint were chosen by tools, and the store may be anybody's: everything is made
relative to an open directory that was reached without following a link, and only what does not exist yet is
made. Invariant: nothing outside the given directory is touched, and a content whose digest does not fit is
not left behind.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from agents.hands.checkpoint_history import StoredVersion
from agents.hands.checkpoint_manifest import COVERED, DamagedPack, Entry
from agents.hands.checkpoint_pack import PackReader, content_digest
from agents.hands.checkpoint_store import CheckpointStore
from agents.hands.deadline import Deadline
from agents.hands.linux_calls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

_MAX_DEPTH = 256
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Restored:
    """What came back."""

    files: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=lambda: [])
    """Files whose content was not what it should be; they are left out."""


def restore(
    store: CheckpointStore, folder: str, stored: StoredVersion, base: int, uid: int | None, deadline: Deadline
) -> Restored:
    """Make the files of *stored* below the directory *base* (a descriptor), where the covered directories lie empty.

    Raises StoreUnavailable, TimeoutError, OSError; what was made by then stays.
    """
    return _Restore(store, folder, stored, base, uid, deadline).run()


class _Restore:
    def __init__(
        self,
        store: CheckpointStore,
        folder: str,
        stored: StoredVersion,
        base: int,
        uid: int | None,
        deadline: Deadline,
    ) -> None:
        self._store = store
        self._folder = folder
        self._table = stored.table
        self._packs = stored.manifest.packs
        self._base = base
        self._uid = uid
        self._deadline = deadline
        self._report = Restored()

    def run(self) -> Restored:
        directories: list[tuple[str, Entry]] = []
        contents: list[tuple[int, int, str, str, Entry]] = []
        for path, name, entry in self._reachable():
            if stat.S_ISDIR(entry.mode):
                directories.append((f"{path}/{name}" if path else name, entry))
            elif entry.digest:
                contents.append((entry.pack, entry.offset, path, name, entry))
        for path, _ in directories:
            self._make_directory(path)
        self._make_links()
        self._fill(sorted(contents))
        # Last and from below: making a name changes the time of its directory, and may need its permissions.
        for path, entry in reversed(directories):
            fd = self._open(path)
            try:
                self._finish(fd, entry)
            finally:
                os.close(fd)
        return self._report

    def _reachable(self) -> Iterator[tuple[str, str, Entry]]:
        """Yield every name that hangs together with the covered directories, a directory before what is in it."""
        top = self._table.get("", {})
        pending = [("", name, top[name]) for name in COVERED if name in top and stat.S_ISDIR(top[name].mode)]
        depth = {"": 0}
        while pending:
            path, name, entry = pending.pop()
            yield path, name, entry
            if stat.S_ISDIR(entry.mode) and depth[path] < _MAX_DEPTH:
                below = f"{path}/{name}" if path else name
                depth[below] = depth[path] + 1
                pending += [(below, inner, found) for inner, found in self._table.get(below, {}).items()]

    def _make_directory(self, path: str) -> None:
        self._deadline.check()
        parent, _, name = path.rpartition("/")
        if not parent:
            return  # a covered directory, which is there
        fd = self._open(parent)
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
            self._own(name, fd)
        finally:
            os.close(fd)

    def _make_links(self) -> None:
        for path, name, entry in self._reachable():
            if not stat.S_ISLNK(entry.mode):
                continue
            fd = self._open(path)
            try:
                os.symlink(entry.target, name, dir_fd=fd)
                self._own(name, fd)
                os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)
            finally:
                os.close(fd)

    def _fill(self, contents: list[tuple[int, int, str, str, Entry]]) -> None:
        """Write every file, pack by pack in the order in which it lies there."""
        reader: PackReader | None = None
        current = -1
        folder, fd = "", -1
        try:
            for pack, _, path, name, entry in contents:
                self._deadline.check()
                if reader is None or pack != current:
                    reader, current = PackReader(self._store, self._folder, self._pack_name(pack)), pack
                if fd < 0 or path != folder:
                    if fd >= 0:
                        os.close(fd)
                    folder, fd = path, self._open(path)
                self._write(reader, fd, path, name, entry)
        finally:
            if fd >= 0:
                os.close(fd)

    def _pack_name(self, version: int) -> str:
        known = self._packs.get(version)
        return known[0] if known else f"{version:015d}-missing"

    def _write(self, reader: PackReader, fd: int, path: str, name: str, entry: Entry) -> None:
        file = os.open(name, _NEW_FILE, 0o600, dir_fd=fd)
        try:
            sound = False
            with suppress(DamagedPack):
                sound = self._content(reader, file, entry)
            if sound:
                self._finish(file, entry)
                self._report.files += 1
                self._report.bytes += entry.stored
        finally:
            os.close(file)
        if not sound:
            os.unlink(name, dir_fd=fd)
            self._report.damaged.append(f"{path}/{name}")

    def _content(self, reader: PackReader, file: int, entry: Entry) -> bool:
        """Write a file's content, leaving its holes; False when it is not what was stored."""
        digest = content_digest()
        offset = entry.offset
        for start, length in entry.extents or ((0, entry.size),):
            for piece in reader.content(offset, length):
                self._deadline.check()
                digest.update(piece)
                view, at = memoryview(piece), start
                while view:
                    written = os.pwrite(file, view, at)
                    view, at = view[written:], at + written
                start += len(piece)
            offset += length
        if entry.extents:
            os.ftruncate(file, entry.size)
        return digest.hexdigest() == entry.digest

    def _finish(self, fd: int, entry: Entry) -> None:
        if self._uid is not None:
            os.fchown(fd, self._uid, self._uid)
        os.fchmod(fd, stat.S_IMODE(entry.mode))
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _own(self, name: str, fd: int) -> None:
        if self._uid is not None:
            os.chown(name, self._uid, self._uid, dir_fd=fd, follow_symlinks=False)

    def _open(self, path: str) -> int:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
        return openat2(self._base, path, os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)
