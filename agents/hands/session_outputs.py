"""What a session leaves in ``/mnt/session/outputs``, brought out as files that the API lists and hands out.

    <session>/outputs/...        what tools write
    <session>/outputs.json       which state of each file there has been dealt with

After each call that may have changed something the directory is looked through (``output_scan``), and what is new or
changed is read and kept. Invariants: one look at a time for each session, and whoever asks during one gets the next; a
store or a database that fails delays a call, and never fails it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson

from agents.clock import Clock
from agents.errors import Conflict, InvalidRequest, NotFound, PayloadTooLarge, PermissionDenied, Unavailable
from agents.files.blobs import Blob
from agents.hands.checkpoint_store import StoreUnavailable
from agents.hands.notices import not_kept
from agents.hands.output_scan import MOST_BYTES, Found, Mark, look_through, open_output
from agents.hands.threads import to_its_end

T = TypeVar("T")
log = logging.getLogger(__name__)

_PIECE_BYTES = 1024 * 1024
_RESULT_SECONDS = 10.0
"""A result waits this long for what its call has left to be listed; then that goes on by itself."""
_LOOK_SECONDS = 1800.0
_AGAIN_SECONDS = 30.0
_KNOWN = "outputs.json"


class OutputFiles(Protocol):
    """Keeps outputs."""

    async def kept(self, session_id: str) -> Mapping[str, Blob]:
        """Return what is kept of a session, by path. Raises Unavailable."""
        ...

    async def keep(self, session_id: str, path: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        """Keep what *chunks* yields, in place of what is kept at *path*, a path below the outputs directory.

        It is at most *size* bytes; nothing is read where that is too much. Raises NotFound (no such session),
        InvalidRequest (a name that no file can have), PayloadTooLarge, PermissionDenied (no room), Conflict (another
        host has kept something there just now), Unavailable, StoreUnavailable, and what *chunks* raises.
        """
        ...


class SessionOutputs:
    """The outputs of one session on this host."""

    def __init__(
        self,
        session_id: str,
        base: Path,
        files: OutputFiles | None,
        executor: Executor,
        on_idle: Callable[[], None],
        count: Callable[[int], None],
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        """*files* keeps them (None: nobody does); *count* gets their bytes, *tell* what the model should know."""
        self._session_id = session_id
        self._base = base
        self._files = files
        self._executor = executor
        self._on_idle = on_idle
        self._count = count
        self._clock = clock
        self._tell = tell
        self._known: dict[str, Mark] | None = None
        self._faulty: dict[str, Mark] = {}
        """What cannot be kept as it is."""
        self._beyond: dict[str, Mark] = {}
        self._next: asyncio.Future[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._failed_at: float | None = None
        """When the last look failed, if it did."""
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether outputs are being brought out, or are still to be."""
        return self._looking is not None or (self._failed_at is not None and not self._closed)

    @property
    def pausing(self) -> bool:
        """Whether a look has failed just now: another at once would fail too."""
        return self._failed_at is not None and self._clock.monotonic() < self._failed_at + _AGAIN_SECONDS

    async def cover(self) -> None:
        """Have what lies there now brought out; returns when it is, or after a while, and then it goes on."""
        if (ended := self.look_soon()) is not None:
            await asyncio.wait({ended}, timeout=_RESULT_SECONDS)

    def look_soon(self) -> asyncio.Future[None] | None:
        """Have it brought out; returns what is done when it is, None when nothing is to do."""
        if self._files is None or self._closed:
            return None
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_all(self._files))
        return self._next

    async def settle(self) -> None:
        """Return when nothing is being brought out."""
        while self._looking is not None:
            await asyncio.wait({self._looking})

    async def discard(self) -> None:
        """Give up whatever is being brought out: the session is to be deleted."""
        self._closed = True
        await self.settle()

    async def _look_all(self, files: OutputFiles) -> None:
        ended: asyncio.Future[None] | None = None
        try:
            while (ended := self._next) is not None:
                self._next = None
                await self._look(files)
                ended.set_result(None)
        finally:
            for waited in (ended, self._next):
                if waited is not None and not waited.done():
                    waited.set_result(None)
            self._looking = self._next = None
            self._on_idle()

    async def _look(self, files: OutputFiles) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._bring_out(files)
            self._failed_at = None
        except NotFound:
            self._closed = True  # the session is deleted
        except (Unavailable, StoreUnavailable, TimeoutError, OSError) as error:
            # The next call of the session is the next try; without one the pool asks again after a while.
            self._failed_at = self._clock.monotonic()
            log.warning("outputs of session %s wait: %s: %s", self._session_id, type(error).__name__, error)
        except Exception:
            # The border of a look: a fault of ours must not end the session's calls.
            log.exception("the outputs of session %s were not brought out", self._session_id)

    async def _bring_out(self, files: OutputFiles) -> None:
        if self._known is None:
            self._known = await self._threaded(partial(_read_known, self._base))
        found = await self._threaded(partial(look_through, self._base))
        told = [path for path, mark in found.beyond.items() if self._beyond.get(path) != mark]
        self._beyond = found.beyond
        self._faulty = {path: mark for path, mark in self._faulty.items() if found.there.get(path) == mark}
        known = {path: mark for path, mark in self._known.items() if path in found.there}
        fresh = [path for path, mark in found.there.items() if mark not in (known.get(path), self._faulty.get(path))]
        if fresh or known != self._known:
            try:
                await self._keep_all(files, found, fresh, known)
            finally:
                self._known = known
                await self._threaded(partial(_write_known, self._base, known))
        if told := [*told, *(path for path in fresh if path in self._faulty)]:
            self._tell(not_kept(told))

    async def _keep_all(self, files: OutputFiles, found: Found, fresh: list[str], known: dict[str, Mark]) -> None:
        """Keep what is new, and take it into *known*; what cannot be kept, among what is faulty."""
        kept: Mapping[str, Blob] = await files.kept(self._session_id) if fresh else {}
        for path in fresh:
            mark = found.there[path]
            try:
                if (blob := kept.get(path)) is None or blob.size != mark[2] or await self._digest(path) != blob.sha256:
                    async with aclosing(self._chunks(path, mark[2])) as chunks:
                        await files.keep(self._session_id, path, mark[2], chunks)
                    self._count(mark[2])
                known[path] = mark
            except FileNotFoundError:
                continue  # gone, or something else by now
            except Conflict:
                continue  # the next look compares it with what is kept there now
            except (InvalidRequest, PayloadTooLarge, PermissionDenied) as error:
                log.warning("an output of session %s is not kept: %s", self._session_id, error.message)
                self._faulty[path] = mark

    async def _digest(self, path: str) -> str:
        digest = hashlib.sha256()
        async with aclosing(self._chunks(path, MOST_BYTES)) as chunks:
            async for piece in chunks:
                digest.update(piece)
        return digest.hexdigest()

    async def _chunks(self, path: str, most: int) -> AsyncGenerator[bytes]:
        """Yield a file's bytes, and no more than *most*: one that grows is looked at again. Raises OSError."""
        fd = await self._threaded(partial(open_output, self._base, path))
        try:
            start = 0
            while start < most:
                if self._closed:
                    raise FileNotFoundError("the session is being deleted")
                piece = await self._threaded(partial(os.pread, fd, min(_PIECE_BYTES, most - start), start))
                if not piece:
                    return
                start += len(piece)
                yield piece
        finally:
            os.close(fd)

    async def _threaded(self, work: Callable[[], T]) -> T:
        # A descriptor must not be closed under a thread that reads from it.
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._executor, work))


def _read_known(base: Path) -> dict[str, Mark]:
    try:
        stored: Any = orjson.loads((base / _KNOWN).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return {os.fsdecode(bytes.fromhex(path)): tuple(mark) for path, mark in stored.items()}


def _write_known(base: Path, known: Mapping[str, Mark]) -> None:
    """Note *known*; does nothing when the directory is gone. Raises OSError."""
    scratch = base / f"{_KNOWN}.new"
    # Names are bytes, and need not be text.
    stored = {os.fsencode(path).hex(): mark for path, mark in known.items()}
    with suppress(FileNotFoundError):
        scratch.write_bytes(orjson.dumps(stored))
        scratch.rename(base / _KNOWN)
