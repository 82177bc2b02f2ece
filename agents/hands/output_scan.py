"""Looking through a session's outputs directory, and reading from it, whatever its tools put there meanwhile.

Change times cannot be set by a sandbox, so a file with the same change time, inode and size holds what it held.
Invariants: no symbolic link is ever followed, also not when a tool swaps a directory for one meanwhile; what does not
belong to the sandbox's user is left out; what one look goes through is bounded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

MOST_FILES = 1000  # ours: twice what may be mounted (spec A.7)
MOST_BYTES = 10 * 1024**3
"""All outputs of a session together, as large as they claim to be: a file with holes costs its sandbox nothing."""
_PATH_BYTES = 1024  # ours, as of a mount's path; an index of PostgreSQL takes no more than 2704
_MAX_DEPTH = 30
_MOST_NAMES = 20_000
"""Names of all kinds that one look goes through."""
_OUTPUTS = "outputs"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Mark = tuple[int, int, int]
"""Change time, inode and size of a file."""


@dataclass(slots=True)
class Found:
    """What one look has found."""

    there: dict[str, Mark] = field(default_factory=lambda: {})
    beyond: dict[str, Mark] = field(default_factory=lambda: {})
    """What is over the bounds."""


def look_through(base: Path) -> Found:
    """Return the outputs of a session whose directory is *base*; nothing when it has none. Raises OSError."""
    found = Found()
    try:
        root = os.open(base / _OUTPUTS, _DIRECTORY)
    except FileNotFoundError:
        return found
    try:
        facts = os.fstat(root)
        _Look(found, facts.st_uid, facts.st_dev).enter(root, "", 0)
    finally:
        os.close(root)
    return found


class _Look:
    def __init__(self, found: Found, uid: int, device: int) -> None:
        self._found = found
        self._uid = uid
        self._device = device
        self._names = 0
        self._bytes = 0

    def enter(self, directory: int, path: str, depth: int) -> None:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in islice(entries, _MOST_NAMES))
        for name in names:
            self._names += 1
            if self._names > _MOST_NAMES:
                return
            inner = f"{path}/{name}" if path else name
            try:
                facts = os.lstat(name, dir_fd=directory)
            except FileNotFoundError:
                continue
            if facts.st_uid != self._uid or facts.st_dev != self._device:
                continue
            if stat.S_ISDIR(facts.st_mode) and depth < _MAX_DEPTH:
                with suppress(OSError), _opened(name, directory) as inside:  # closed to the server, or swapped
                    self.enter(inside, inner, depth + 1)
            elif stat.S_ISREG(facts.st_mode):
                self._take(inner, (facts.st_ctime_ns, facts.st_ino, facts.st_size))

    def _take(self, path: str, mark: Mark) -> None:
        fits = len(os.fsencode(path)) <= _PATH_BYTES and len(self._found.there) < MOST_FILES
        if fits and self._bytes + mark[2] <= MOST_BYTES:
            self._bytes += mark[2]
            self._found.there[path] = mark
        elif len(self._found.beyond) < MOST_FILES:
            self._found.beyond[path] = mark


@contextmanager
def _opened(name: str, directory: int) -> Generator[int]:
    fd = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)


def open_output(base: Path, path: str) -> int:
    """Open an output for reading. Raises FileNotFoundError for what is no such file (any more), OSError."""
    *folders, name = path.split("/")
    fds = [os.open(base / _OUTPUTS, _DIRECTORY)]
    owner = os.fstat(fds[0]).st_uid
    try:
        for folder in folders:
            fds.append(os.open(folder, _DIRECTORY, dir_fd=fds[-1]))
        file = os.open(name, _FILE, dir_fd=fds[-1])
    except OSError as error:
        raise FileNotFoundError(error.errno, "no output any more") from error
    finally:
        for fd in fds:
            os.close(fd)
    facts = os.fstat(file)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != owner:
        os.close(file)
        raise FileNotFoundError("no output any more")
    return file
