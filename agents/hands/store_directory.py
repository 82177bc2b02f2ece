"""A memory store's directory in a sandbox, as the server reads and writes it: with the agent's rights, in its view.

What is in it is the agent's doing: links are not followed where they would count as files, and whatever is too large,
too deep, too many, no file or no text is never read whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import posixpath
from collections.abc import Callable, Mapping
from typing import TypeVar

from agents.hands.file_root import FileRoot
from agents.hands.linux_calls import acting_as
from agents.hands.threads import to_its_end
from agents.memory.mirror import TooManyEntries
from agents.memory.rules import MAX_CONTENT_BYTES, MAX_SEGMENTS

T = TypeVar("T")

MOST_ENTRIES = 10_000
"""Files and directories that are looked at: five times what a store has room for."""


class StoreDirectory:
    """The Directory of ``agents.memory.mirror`` at a path of a sandbox."""

    def __init__(self, files: FileRoot, root: str) -> None:
        self._files = files
        self._root = root

    async def digests(self) -> Mapping[str, str] | None:
        """See Directory.digests. What cannot be a memory has a digest that no text has."""
        return await self._in_thread(self._digests)

    async def digest(self, path: str) -> str | None:
        """See Directory.digest."""
        return await self._in_thread(lambda: self._digest(path))

    async def read(self, path: str) -> str | None:
        """See Directory.read."""
        return await self._in_thread(lambda: self._text(path))

    async def write(self, path: str, content: str) -> None:
        """See Directory.write."""
        await self._in_thread(lambda: self._files.write(self._root + path, content.encode()))

    async def remove(self, path: str) -> None:
        """See Directory.remove."""
        await self._in_thread(lambda: self._remove(path))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def run() -> T:
            with acting_as(self._files.uid):
                return work()

        self._files.enter()
        try:
            return await to_its_end(asyncio.to_thread(run))
        finally:
            self._files.leave()

    def _digests(self) -> dict[str, str] | None:
        found: dict[str, str] = {}
        waiting, seen = [""], 0
        while waiting:
            folder = waiting.pop()
            try:
                fd = self._files.open_directory(self._root + folder)
            except FileNotFoundError:
                if not folder:
                    return None
                continue
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        seen += 1
                        if seen > MOST_ENTRIES:
                            raise TooManyEntries(MOST_ENTRIES)
                        path = f"{folder}/{entry.name}"
                        if entry.is_file(follow_symlinks=False):
                            if (digest := self._digest(path)) is not None:
                                found[path] = digest
                        elif entry.is_dir(follow_symlinks=False) and path.count("/") < MAX_SEGMENTS:
                            waiting.append(path)
            finally:
                os.close(fd)
        return found

    def _digest(self, path: str) -> str | None:
        try:
            with self._files.reading(self._root + path) as (fd, facts):
                if facts.st_size > MAX_CONTENT_BYTES:
                    return f"large {facts.st_size} {facts.st_mtime_ns}"
                return hashlib.sha256(_read(fd)).hexdigest()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"unreadable {error.errno}"

    def _text(self, path: str) -> str | None:
        with self._files.reading(self._root + path) as (fd, _):
            raw = _read(fd)
        if len(raw) > MAX_CONTENT_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return None

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._without(path, os.unlink)
        folder = posixpath.dirname(path)
        with contextlib.suppress(OSError):
            while folder != "/":
                self._without(folder, os.rmdir)
                folder = posixpath.dirname(folder)

    def _without(self, path: str, remove: Callable[..., None]) -> None:
        fd = self._files.open_directory(self._root + posixpath.dirname(path))
        try:
            remove(posixpath.basename(path), dir_fd=fd)
        finally:
            os.close(fd)


def _read(fd: int) -> bytes:
    """Return what a file has, one byte more than a memory may have at most."""
    pieces: list[bytes] = []
    left = MAX_CONTENT_BYTES + 1
    while left > 0 and (piece := os.read(fd, left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
