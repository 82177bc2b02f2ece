"""Finding what has changed in a sandbox's files since the last checkpoint, by lstat(2) alone.

Most calls change little, so this is the part that every one of them pays: no path objects, no content, one
system call per name. Change times cannot be set by a sandbox, so a file with the same change time, inode and
size holds what it held. Invariant: no symbolic link is ever followed, also not when a tool swaps a directory
for one meanwhile; what does not belong to the sandbox's user is left out.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from agents.hands.checkpoint_manifest import COVERED, Entry, Table
from agents.hands.deadline import Deadline

MAX_ENTRIES = 500_000
_MAX_DEPTH = 200
_MAX_PATH = 3800
"""Below PATH_MAX: a changed file's directory is opened by its path."""
_SPARSE_BYTES = 64 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)

Found = os.stat_result


class TooManyFiles(Exception):
    """The files are more than checkpoints hold (``checkpoints.max_bytes``)."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(slots=True)
class Scan:
    """What differs from a table."""

    changed: dict[str, dict[str, Found]] = field(default_factory=lambda: {})
    """New names and those that may have changed, by directory."""
    gone: dict[str, list[str]] = field(default_factory=lambda: {})
    entries: int = 0
    stored: int = 0
    """Bytes of all content together."""
    left_out: int = 0
    """Sockets, pipes, what is somebody else's, what lies too deep."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone)


def is_sparse(facts: Found) -> bool:
    """Whether a regular file has holes that are worth skipping."""
    return facts.st_size > _SPARSE_BYTES and facts.st_blocks * 512 < facts.st_size


def scan(base: int, table: Table, uid: int | None, deadline: Deadline, *, max_bytes: int) -> Scan:
    """Compare the files below the directory *base* (a descriptor) with *table*.

    Raises TooManyFiles, TimeoutError, OSError when *base* itself cannot be read.
    """
    scanner = _Scanner(table, os.geteuid() if uid is None else uid, os.fstat(base).st_dev, deadline, max_bytes)
    for name in COVERED:
        scanner.enter(base, "", name, 0)
    scanner.top(base)
    return scanner.found


class _Scanner:
    def __init__(self, table: Table, uid: int, device: int, deadline: Deadline, max_bytes: int) -> None:
        self.found = Scan()
        self._table = table
        self._uid = uid
        self._device = device
        self._deadline = deadline
        self._max_bytes = max_bytes

    def top(self, base: int) -> None:
        """Compare the covered directories themselves."""
        known = self._table.get("", {})
        for name in COVERED:
            facts = os.lstat(name, dir_fd=base)
            entry = known.get(name)
            if entry is None or entry.ctime_ns != facts.st_ctime_ns or entry.inode != facts.st_ino:
                self.found.changed.setdefault("", {})[name] = facts

    def enter(self, parent: int, path: str, name: str, depth: int) -> None:
        """Compare one directory with all below it."""
        path = f"{path}/{name}" if path else name
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
        except PermissionError:  # closed to a server that is not root: what is known of it stays
            self.found.left_out += 1
            return
        except OSError:  # gone or swapped meanwhile
            self._lost(path)
            return
        try:
            self._directory(fd, path, depth)
        finally:
            os.close(fd)

    def _directory(self, fd: int, path: str, depth: int) -> None:
        self._deadline.check()
        found = self.found
        known = self._table.get(path, {})
        changed: dict[str, Found] = {}
        folders: list[str] = []
        present: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                kind = facts.st_mode & 0o170000
                if facts.st_uid != self._uid or facts.st_dev != self._device or kind not in _KINDS:
                    found.left_out += 1
                    continue
                present.append(name)
                old = known.get(name)
                if old is None or old.ctime_ns != facts.st_ctime_ns or old.inode != facts.st_ino:
                    changed[name] = facts
                if kind == stat.S_IFDIR:
                    folders.append(name)
                elif kind == stat.S_IFREG:
                    found.stored += facts.st_blocks * 512 if is_sparse(facts) else facts.st_size
        found.entries += len(present)
        if found.stored > self._max_bytes or found.entries > MAX_ENTRIES:
            raise TooManyFiles
        if changed:
            found.changed[path] = changed
        if changed or len(present) < len(known):
            self._gone(path, known, present, folders)
        for name in folders:
            if depth < _MAX_DEPTH and len(path) + len(name) < _MAX_PATH:
                self.enter(fd, path, name, depth + 1)
            else:
                found.left_out += 1

    def _gone(self, path: str, known: dict[str, Entry], present: list[str], folders: list[str]) -> None:
        if gone := known.keys() - present:
            self.found.gone[path] = list(gone)
        for name in known.keys() - folders:
            if stat.S_ISDIR(known[name].mode):
                self._lost(f"{path}/{name}")

    def _lost(self, path: str) -> None:
        """Take note that a directory of the table is not there any more, nor anything below it."""
        pending = [path]
        while pending:
            path = pending.pop()
            known = self._table.get(path)
            if known:
                self.found.gone[path] = list(known)
                pending += [f"{path}/{name}" for name, entry in known.items() if stat.S_ISDIR(entry.mode)]
