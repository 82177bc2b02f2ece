"""The bytes of files, by what they are: one object for each content, named by its SHA-256.

Kept where checkpoints are kept: a directory that all nodes share, or anything that fsspec reaches. Bytes come and go in
pieces and are never whole in memory. What is written goes to a place of its own first (*staged*), for its name is known
only at its end, and becomes a blob by being moved. Invariant: a blob is whole and never changes; that a file's row
names a blob which is being removed is kept from happening by ``records`` (a blob is claimed before it is kept).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from agents.config import Settings
from agents.errors import PayloadTooLarge
from agents.hands.checkpoint_store import CheckpointStore, StoreUnavailable, open_place
from agents.hands.threads import to_its_end

P = ParamSpec("P")
T = TypeVar("T")

_PIECE_BYTES = 1024 * 1024
"""Pieces in which bytes are handed to a thread, or read: each costs about 0.1 ms of hand-over."""
_STAGED = "staged"
FOLDERS = tuple(f"blobs/{number:02x}" for number in range(256))
"""Where blobs are: no folder gets more than a 256th of all, so that listings and local directories stay short."""
_ABANDONED_SECONDS = 24 * 3600
"""What was staged longer ago than this is not being written any more."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A content."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Staged:
    """A content that is not kept yet, and where it lies."""

    blob: Blob
    name: str


class Blobs:
    """All contents of a platform. Every call may raise StoreUnavailable."""

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store

    async def stage(self, chunks: AsyncIterable[bytes], *, most: int) -> Staged:
        """Write what *chunks* yields, and return what it was. Raises PayloadTooLarge above *most* bytes.

        When it raises, and when *chunks* does, nothing is left.
        """
        # The time is what the abandoned are told by.
        name = f"{int(time.time())}-{secrets.token_hex(8)}"
        writing = self._store.writing(_STAGED, name)
        sink = await _in_thread(writing.__enter__)
        digest, size = hashlib.sha256(), 0

        def take(piece: bytes) -> None:
            digest.update(piece)
            sink.write(piece)

        try:
            async for piece in _pieces(chunks):
                size += len(piece)
                if size > most:
                    raise too_large(most)
                await _in_thread(take, piece)
        except BaseException as error:
            await _in_thread(_ended, writing.__exit__, type(error), error, error.__traceback__)
            raise
        await _in_thread(_ended, writing.__exit__, None, None, None)
        return Staged(Blob(digest.hexdigest(), size), name)

    async def keep(self, staged: Staged) -> None:
        """Make it a blob; one with this content may be there."""
        await _in_thread(self._store.move, _STAGED, staged.name, *_place(staged.blob.sha256))

    async def drop(self, staged: Staged) -> None:
        """Remove what was staged and is not wanted."""
        await _in_thread(self._store.remove, _STAGED, [staged.name])

    async def read(self, sha256: str, start: int, length: int) -> AsyncGenerator[bytes]:
        """Yield *length* bytes from *start*, in pieces. Raises FileNotFoundError, StoreUnavailable."""
        folder, name = _place(sha256)
        while length > 0:
            piece = await _in_thread(self._store.read, folder, name, start, min(length, _PIECE_BYTES))
            if not piece:
                raise StoreUnavailable(f"blob {sha256} is shorter than it should be")
            yield piece
            start, length = start + len(piece), length - len(piece)

    async def whole(self, blob: Blob) -> bytes:
        """Return a whole content, for those who have bounded its size. Raises FileNotFoundError, StoreUnavailable."""
        return b"".join([piece async for piece in self.read(blob.sha256, 0, blob.size)])

    async def copy_to(self, blob: Blob, target: Path) -> None:
        """Write a content to a new file, or over one. Raises FileNotFoundError, StoreUnavailable, OSError."""
        file = await _in_thread(target.open, "wb")
        try:
            async with aclosing(self.read(blob.sha256, 0, blob.size)) as pieces:
                async for piece in pieces:
                    await _in_thread(file.write, piece)
        finally:
            await _in_thread(file.close)

    async def delete(self, sha256: str) -> None:
        """Remove a blob; does nothing when it is gone."""
        folder, name = _place(sha256)
        await _in_thread(self._store.remove, folder, [name])

    async def drop_abandoned(self) -> int:
        """Remove what was staged by processes that are no more; returns how many that were."""
        staged = await _in_thread(self._store.sizes, _STAGED)
        limit = time.time() - _ABANDONED_SECONDS
        names = [name for name in staged if name.partition("-")[0].isdigit() and int(name.partition("-")[0]) < limit]
        await _in_thread(self._store.remove, _STAGED, names)
        return len(names)


def too_large(most: int) -> PayloadTooLarge:
    """Word that a content has more than *most* bytes."""
    return PayloadTooLarge(f"the file is larger than {most} bytes")


def open_blob_store(settings: Settings) -> CheckpointStore:
    """Return where the blobs of a platform are. Raises StoreUnavailable for an URL of a kind that is not installed."""
    return open_place("files", settings.files, settings.data_dir / "files")


def open_blobs(settings: Settings) -> Blobs:
    """Return the blobs of a platform. Raises as ``open_blob_store``."""
    return Blobs(open_blob_store(settings))


def _place(sha256: str) -> tuple[str, str]:
    return f"blobs/{sha256[:2]}", sha256


async def _pieces(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """Yield what *chunks* yields in pieces that are worth a hand-over to a thread."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _ended(
    leave: Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], bool | None],
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    """Leave a context manager on a thread; that it raises the same error again is how it says that it has ended."""
    try:
        leave(kind, error, traceback)
    except BaseException as again:
        if again is not error:
            raise


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do blocking work; a caller who is cancelled returns when it has ended."""
    return await to_its_end(asyncio.to_thread(work, *args, **kwargs))
