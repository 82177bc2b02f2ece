"""A memory store's directory that sandboxes only read: the server's, with modes by which nobody writes.

A server that is not root runs sandboxes as its own user, who may give himself the right to write. So nothing there is
trusted: no link is followed, and the next pass brings back what the store has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Generator, Mapping

from agents.hands.file_root import FileRoot
from agents.hands.store_directory import StoreDirectory
from agents.hands.threads import to_its_end

_OPEN, _SHUT, _FILE = 0o755, 0o555, 0o444
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class KeptDirectory:
    """The Directory of ``agents.memory.mirror`` of a store that is only read."""

    def __init__(self, files: FileRoot, root: str) -> None:
        """*files* must be the server's own view, *root* a directory in it."""
        self._files = files
        self._root = root
        self._view = StoreDirectory(files, root)

    async def digests(self) -> Mapping[str, str] | None:
        """See Directory.digests."""
        return await self._view.digests()

    async def digest(self, path: str) -> str | None:
        """See Directory.digest."""
        return await self._view.digest(path)

    async def read(self, path: str) -> str | None:
        """See Directory.read."""
        return await self._view.read(path)

    async def write(self, path: str, content: str) -> None:
        """See Directory.write."""
        await self._in_thread(lambda: self._write(path, content.encode()))

    async def remove(self, path: str) -> None:
        """See Directory.remove."""
        await self._in_thread(lambda: self._remove(path))

    async def _in_thread(self, work: Callable[[], None]) -> None:
        self._files.enter()
        try:
            await to_its_end(asyncio.to_thread(work))
        finally:
            self._files.leave()

    def _write(self, path: str, content: bytes) -> None:
        with self._opened(path, make=True) as (folders, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folders[-1])
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, _FILE, dir_fd=folders[-1])
            try:
                os.fchmod(fd, _FILE)  # whatever the server's umask is
                view = memoryview(content)
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._opened(path, make=False) as (folders, name):
            os.unlink(name, dir_fd=folders[-1])
            parents = path.split("/")[1:-1]
            with contextlib.suppress(OSError):  # one that is not empty stays, with all above it
                for parent, folder in zip(reversed(folders[:-1]), reversed(parents), strict=True):
                    os.rmdir(folder, dir_fd=parent)

    @contextlib.contextmanager
    def _opened(self, path: str, *, make: bool) -> Generator[tuple[list[int], str]]:
        """Open the directories down to *path*, writable meanwhile for the server; its last name goes with them."""
        *parents, name = path.split("/")[1:]
        folders = [self._files.open_directory(self._root)]
        try:
            os.fchmod(folders[0], _OPEN)
            for parent in parents:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(parent, _OPEN, dir_fd=folders[-1])
                folders.append(os.open(parent, _DIRECTORY, dir_fd=folders[-1]))
                os.fchmod(folders[-1], _OPEN)
            yield folders, name
        finally:
            for fd in reversed(folders):
                os.fchmod(fd, _SHUT)
                os.close(fd)
