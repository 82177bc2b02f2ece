"""Files as a sandbox sees them, opened by the server without ever leaving that view.

The server keeps one descriptor of the sandbox's root directory (through ``/proc/<pid>/root``, so with
all of its mounts) and resolves every path from it with ``openat2``. Symbolic links and ``..`` are
followed inside, magic links never; read-only mounts stay read-only. Invariant: what is opened for
reading is a regular file *before* it is opened, so a FIFO cannot block and a device has no side effect.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents.hands.linux_calls import RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_MAX_PARENTS = 256


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")


@dataclass(slots=True)
class FileRoot:
    """A sandbox's file system.

    ``home`` is where relative paths start. ``outside`` (plain processes only) is the path of the root
    directory on the host: absolute paths must then begin with it or with one of ``aliases``, and a
    link that leads out is an error instead of being followed inside.
    """

    fd: int
    home: str
    uid: int | None = None
    outside: str | None = None
    aliases: dict[str, str] = field(default_factory=lambda: {})
    _refused_devices: frozenset[int] = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _users: int = field(init=False, default=0)
    _closing: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        # /proc answers by who asks, and here the server asks: it is left to the shell.
        self._refused_devices = frozenset() if self.outside else frozenset({self._device("/proc")})

    def enter(self) -> None:
        """Keep the root open for one more user, on whatever thread."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """End what ``enter`` began."""
        with self._lock:
            self._users -= 1
            self._close_if_unused()

    def close(self) -> None:
        """Close the root as soon as nobody uses it (its number must not be reused under a running tool)."""
        with self._lock:
            self._closing = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closing and self._users == 0 and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def absolute(self, path: str) -> str:
        """Return *path* as an absolute, lexically normal path of the sandbox; raises OSError for one outside."""
        full = posixpath.normpath(posixpath.join(self.home, path))
        if self.outside is None:
            return "/" + full.lstrip("/")
        if _within(full, self.outside):
            return full
        for alias, real in self.aliases.items():
            if _within(full, alias):
                return real + full[len(alias) :]
        raise OSError(errno.EXDEV, "outside the session's working directory")

    @contextmanager
    def reading(self, path: str) -> Generator[tuple[int, os.stat_result]]:
        """Open a regular file for reading; raises OSError (ENXIO for anything but a regular file)."""
        handle = self._open(path, os.O_PATH)
        try:
            facts = self._regular(handle)
            fd = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        finally:
            os.close(handle)
        try:
            yield fd, facts
        finally:
            os.close(fd)

    def write(self, path: str, data: bytes) -> None:
        """Replace a regular file's content, creating it and its parents; raises OSError."""
        self._make_parents(posixpath.dirname(self.absolute(path)))
        fd = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, mode=0o666)
        try:
            self._regular(fd)
            os.ftruncate(fd, 0)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)

    def open_directory(self, path: str) -> int:
        """Open a directory for listing; raises OSError."""
        fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)
        if os.fstat(fd).st_dev in self._refused_devices:
            os.close(fd)
            raise OSError(errno.EACCES, "permission denied")
        return fd

    def _open(self, path: str, flags: int, *, mode: int = 0) -> int:
        return self._open_absolute(self.absolute(path), flags, mode=mode)

    def _open_absolute(self, full: str, flags: int, *, mode: int = 0) -> int:
        if self.outside is None:
            resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
            relative = full
        else:
            resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
            relative = full[len(self.outside) :].lstrip("/") or "."
        return openat2(self.fd, relative, flags, mode=mode, resolve=resolve)

    def _regular(self, fd: int) -> os.stat_result:
        facts = os.fstat(fd)
        if stat.S_ISDIR(facts.st_mode):
            raise OSError(errno.EISDIR, "is a directory")
        if not stat.S_ISREG(facts.st_mode) or facts.st_dev in self._refused_devices:
            raise OSError(errno.ENXIO, "not a regular file")
        return facts

    def _make_parents(self, directory: str) -> None:
        missing: list[str] = []
        while True:
            try:
                fd = self._open_absolute(directory, os.O_PATH | os.O_DIRECTORY)
                break
            except FileNotFoundError:
                if len(missing) >= _MAX_PARENTS or directory in ("/", self.outside):
                    raise
                missing.append(posixpath.basename(directory))
                directory = posixpath.dirname(directory)
        try:
            for name in reversed(missing):
                os.mkdir(name, dir_fd=fd)
                child = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = child
        finally:
            os.close(fd)

    def _device(self, path: str) -> int:
        fd = self._open(path, os.O_PATH)
        try:
            return os.fstat(fd).st_dev
        finally:
            os.close(fd)
