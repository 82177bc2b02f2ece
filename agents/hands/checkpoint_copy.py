"""Reading a sandbox's changed files into a pack, while tools may go on changing them.

Everything is opened relative to the sandbox's own directory, without following a single link, and looked at
before and after it is read. Invariant: an entry never claims more than was read: a file that changed
meanwhile is read again, and one that would not stand still is noted as it was read and looked at again at the
next checkpoint.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents.hands.checkpoint_manifest import Changes, Entry, Table
from agents.hands.checkpoint_pack import PackWriter, content_digest
from agents.hands.checkpoint_scan import Found, Scan, is_sparse
from agents.hands.deadline import Deadline
from agents.hands.linux_calls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

_PIECE = 1024 * 1024
_COMPARED_BYTES = 64 * 1024 * 1024
"""A file up to this size is read once more to see whether its content is what a pack has already."""
_MAX_EXTENTS = 1000
_TRIES = 3
_TICK_NS = 25_000_000
"""Two changes within one tick of the kernel's clock (10 ms at most) bear the same time; with a margin."""
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENXIO)


@dataclass(slots=True)
class Plan:
    """What a scan comes to once the files that only look changed are known."""

    changes: Changes = field(default_factory=lambda: {})
    """Entries that are known already: directories, links, deletions, files whose content a pack has."""
    unread: dict[str, list[str]] = field(default_factory=lambda: {})
    """Files whose content must be copied."""
    same: Changes = field(default_factory=lambda: {})
    """Files that are what they were, with the figures by which that can be told next time."""
    scattered: dict[str, list[str]] = field(default_factory=lambda: {})
    """Unchanged files whose content should move to the new pack."""

    def __bool__(self) -> bool:
        return bool(self.changes or self.unread)


class FileCopier:
    """Reads the files of one sandbox, below the directory *base* (a descriptor), as far as they belong to *uid*.

    Raises TimeoutError, OSError when the disk fails, and what the pack raises.
    """

    def __init__(self, base: int, uid: int | None, deadline: Deadline) -> None:
        self._base = base
        self._uid = os.geteuid() if uid is None else uid
        self._deadline = deadline

    def plan(self, scan: Scan, table: Table) -> Plan:
        """Sort what *scan* found."""
        plan = Plan()
        moved = _moved(scan, table)
        for path, names in scan.gone.items():
            plan.changes[path] = dict.fromkeys(names)
        for path, found in scan.changed.items():
            known = table.get(path, {})
            with self._directory(path) as fd:
                if fd is None:
                    continue
                for name, facts in found.items():
                    self._deadline.check()
                    old = known.get(name)
                    alike = old if old is not None and old.digest else moved.get((facts.st_ino, facts.st_size))
                    entry = self._settled(fd, name, facts, alike)
                    if entry is None:
                        plan.unread.setdefault(path, []).append(name)
                    else:
                        where = plan.same if old is not None and _is_same(entry, old) else plan.changes
                        where.setdefault(path, {})[name] = entry
        return plan

    def copy(self, unread: dict[str, list[str]], version: int, pack: PackWriter) -> Changes:
        """Append the contents of *unread* files to *pack* and return their entries; None for those that are gone."""
        changes: Changes = {}
        for path, names in unread.items():
            with self._directory(path) as fd:
                for name in names:
                    # What is closed to us (a server that is not root) stays as the last checkpoint has it.
                    with contextlib.suppress(PermissionError):
                        entry = None if fd is None else self._copied(fd, name, version, pack)
                        changes.setdefault(path, {})[name] = entry
        return changes

    def _settled(self, fd: int, name: str, facts: Found, known: Entry | None) -> Entry | None:
        """Return the entry of what needs no copying: it has no content, or that of *known*; None otherwise."""
        if stat.S_ISDIR(facts.st_mode):
            return _bare(facts, facts.st_ctime_ns)
        if stat.S_ISLNK(facts.st_mode):
            began = time.time_ns()
            try:
                target = os.readlink(name, dir_fd=fd)
            except OSError:  # replaced meanwhile: found out when it is copied
                return None
            return _bare(facts, told_apart(facts, began))._replace(size=facts.st_size, target=target)
        if known is None or known.size != facts.st_size:
            return None
        untouched = (known.mtime_ns, known.inode) == (facts.st_mtime_ns, facts.st_ino)
        if known.stored > _COMPARED_BYTES and not untouched:
            return None
        with contextlib.suppress(PermissionError):
            return self._compared(fd, name, known)
        return None

    def _compared(self, fd: int, name: str, known: Entry) -> Entry | None:
        """Return the entry of a file whose content is that of *known*; None when it is not, or is gone."""
        with self._file(fd, name) as file:
            if file is None:
                return None
            began = time.time_ns()
            facts = os.fstat(file)
            digest = content_digest()
            extents = _extents(file, facts)
            for piece in _content(file, facts.st_size, extents):
                self._deadline.check()
                digest.update(piece)
            if (digest.hexdigest(), facts.st_size, extents) != (known.digest, known.size, known.extents):
                return None
            return known._replace(
                mode=facts.st_mode, mtime_ns=facts.st_mtime_ns, ctime_ns=told_apart(facts, began), inode=facts.st_ino
            )

    def _copied(self, fd: int, name: str, version: int, pack: PackWriter) -> Entry | None:
        """Copy one file and return its entry; None when there is no such file any more."""
        with self._file(fd, name) as file:
            if file is None:
                return None
            tries = _TRIES
            while True:
                began = time.time_ns()
                facts = os.fstat(file)
                extents = _extents(file, facts)
                digest, offset, read = content_digest(), pack.size, 0
                for piece in _content(file, facts.st_size, extents):
                    self._deadline.check()
                    digest.update(piece)
                    pack.add(piece)
                    read += len(piece)
                after = os.fstat(file)
                tries -= 1
                if tries == 0 or (after.st_ctime_ns, after.st_size) == (facts.st_ctime_ns, facts.st_size):
                    break
            if read != sum(length for _, length in extents):  # cut short under our eyes, or without holes
                extents = ()
            # With the figures from before it was read: one that would not stand still differs from them.
            return _bare(facts, told_apart(facts, began))._replace(
                size=facts.st_size if extents else read,
                pack=version,
                offset=offset,
                digest=digest.hexdigest(),
                extents=extents,
            )

    @contextmanager
    def _directory(self, path: str) -> Generator[int | None]:
        """Open a directory; None when it is gone, or no directory any more."""
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
        fd = _unless_vanished(lambda: openat2(self._base, path or ".", _DIRECTORY, resolve=resolve))
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    @contextmanager
    def _file(self, fd: int, name: str) -> Generator[int | None]:
        """Open a regular file of the sandbox's user; None when it is gone, or something else by now."""
        file = _unless_vanished(lambda: os.open(name, _FILE, dir_fd=fd))
        try:
            ours = file is not None and stat.S_ISREG((facts := os.fstat(file)).st_mode) and facts.st_uid == self._uid
            yield file if ours else None
        finally:
            if file is not None:
                os.close(file)


def told_apart(facts: Found, since_ns: int) -> int:
    """Return the change time to remember, 0 when a change right after *since_ns* might bear the same one."""
    return facts.st_ctime_ns if facts.st_ctime_ns < since_ns - _TICK_NS else 0


def adopted(scan: Scan, table: Table) -> Changes:
    """Return the entries of *table* with the figures of files that were made from it, where nothing ran yet."""
    began = time.time_ns()
    same: Changes = {}
    for path, found in scan.changed.items():
        known = table.get(path, {})
        for name, facts in found.items():
            old = known.get(name)
            if old is not None and (old.mode, old.mtime_ns) == (facts.st_mode, facts.st_mtime_ns):
                figures = old._replace(ctime_ns=told_apart(facts, began), inode=facts.st_ino)
                same.setdefault(path, {})[name] = figures
    return same


def _moved(scan: Scan, table: Table) -> dict[tuple[int, int], Entry]:
    """Return the files that are gone from where they were, by inode and size: they may have been renamed."""
    gone = (table[path][name] for path, names in scan.gone.items() for name in names)
    return {(entry.inode, entry.size): entry for entry in gone if entry.digest}


def _bare(facts: Found, ctime_ns: int) -> Entry:
    return Entry(facts.st_mode, 0, facts.st_mtime_ns, ctime_ns, facts.st_ino)


def _is_same(entry: Entry, old: Entry) -> bool:
    return entry == old._replace(ctime_ns=entry.ctime_ns, inode=entry.inode)


def _extents(file: int, facts: Found) -> tuple[tuple[int, int], ...]:
    """Return what a file with holes holds between them; empty for a file that is to be read whole."""
    if not is_sparse(facts):
        return ()
    found: list[tuple[int, int]] = []
    end = 0
    while end < facts.st_size and len(found) <= _MAX_EXTENTS:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # nothing but a hole up to the end
            break
        end = min(os.lseek(file, start, os.SEEK_HOLE), facts.st_size)
        if start >= end:
            break
        found.append((start, end - start))
    if len(found) > _MAX_EXTENTS:
        return ()
    return tuple(found) or ((0, 0),)


def _content(file: int, size: int, extents: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    """Yield up to *size* bytes, or what the extents hold, in pieces; fewer when the file has become shorter."""
    for start, length in extents or ((0, size),):
        while length > 0 and (piece := os.pread(file, min(length, _PIECE), start)):
            yield piece
            start, length = start + len(piece), length - len(piece)


def _unless_vanished(open_it: Callable[[], int]) -> int | None:
    try:
        return open_it()
    except OSError as error:
        if error.errno in _VANISHED:
            return None
        raise
