"""The files of one session on this host: which version they are, and that a checkpoint follows every change.

Every call that may have changed something asks for a checkpoint that covers it; calls that end while one is
being made share the next one. Invariants: one checkpoint of a session at a time; a store that fails delays
calls at most once before it works again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from agents.hands.checkpoint_history import History
from agents.hands.checkpoint_manifest import DamagedPack
from agents.hands.checkpoint_scan import TooManyFiles
from agents.hands.checkpoint_store import StoreUnavailable
from agents.hands.checkpoint_work import Checkpoints, CheckpointWork, next_epoch
from agents.hands.deadline import Deadline
from agents.hands.session_state import SessionState

T = TypeVar("T")

log = logging.getLogger(__name__)

_RESULT_SECONDS = 10.0
"""A result waits this long for its checkpoint, less than what an owner grants a host beyond a call's own time."""


class _Round:
    """One checkpoint that calls wait for."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.scanned: asyncio.Future[None] = loop.create_future()
        """Done when the version is known that the checkpoint will have."""
        self.ended: asyncio.Future[None] = loop.create_future()

    def note_scanned(self) -> None:
        if not self.scanned.done():
            self.scanned.set_result(None)


class SessionFiles:
    """The versions of one session's files, from when its sandbox is first wanted here until it is forgotten."""

    def __init__(self, session_id: str, base: Path, shared: Checkpoints, on_idle: Callable[[], None]) -> None:
        self.session_id = session_id
        self._shared = shared
        self._on_idle = on_idle
        self._work = CheckpointWork(session_id, str(base), shared)
        self._next: _Round | None = None
        self._making: asyncio.Task[None] | None = None
        self._deadline = Deadline(0)
        self._known = False
        self._closed = False
        self._failing = False
        self._settled = 0
        """The newest version whose checkpoint has ended, well or not."""

    @property
    def version(self) -> int:
        return self._work.state.version

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being made or wanted."""
        return self._making is not None

    def stand_on(self, state: SessionState | None) -> None:
        """Continue with files that lie here; what is known of these very files already is kept."""
        if state is not None and state.origin != self._work.state.origin:
            self._work.stand_on(state, None)

    def take_over(self, state: SessionState, history: History) -> None:
        """Stand on files that have just come from the store."""
        self._work.stand_on(state, history)

    def note_running(self, expected: int, uid: int | None) -> None:
        """Take note that a sandbox runs on the files as user *uid*; they ought to be of version *expected*."""
        state = self._work.state
        self._work.uid = uid
        if state.version < expected:
            state.version = next_epoch(expected)
        self._settled = state.version
        state.holder, state.boot, state.away = self._shared.incarnation, self._shared.boot, False
        self._known = True
        if state.version > 0:
            self._work.save()

    def note_told(self) -> None:
        """Take note that the model was told what it must know."""
        self._work.state.notice = ""

    def newer_than(self, known: int) -> int | None:
        """Return the version of the files if the log, which knows of version *known*, should learn it."""
        return self._settled if self._settled > known else None

    async def cover(self) -> None:
        """Have a checkpoint of all that calls have done so far.

        Returns when it is durable, or, by the settings and when the store fails, before that.
        """
        if self._closed or not self._known:
            return
        if self._shared.store is None:
            self._settle_uncounted()
            return
        waits = self._shared.settings.mode == "before_result" and not self._failing
        round_ = self._request()
        await asyncio.wait({round_.ended if waits else round_.scanned}, timeout=_RESULT_SECONDS)
        if not round_.scanned.done():
            log.warning("the files of session %s are not looked through in time", self.session_id)
            self._work.assume_change()
            round_.note_scanned()
        self._settled = self.version

    def put_away(self) -> None:
        """Have a last checkpoint, now that nothing runs on the files any more."""
        if self._known and not self._closed and not self._work.state.away:
            self._work.state.away = True
            self._request()

    def look_soon(self) -> None:
        """Have a checkpoint that nobody waits for."""
        if self._known and not self._closed and self._shared.store is not None:
            self._request()

    async def secure(self, uid: int | None) -> bool:
        """Whether the store has the files, which nothing runs on, after a checkpoint if need be."""
        await self.settle()
        self._work.uid = uid
        try:
            return await self._threaded(self._work.secure)
        except (StoreUnavailable, TooManyFiles, DamagedPack, TimeoutError, OSError) as error:
            log.warning("the files of session %s stay here: %s: %s", self.session_id, type(error).__name__, error)
            return False

    async def settle(self) -> None:
        """Return when no checkpoint is being made or wanted."""
        while self._making is not None:
            await asyncio.wait({self._making})

    async def discard(self) -> None:
        """Give up whatever is being made: the session is to be deleted."""
        self._closed = True
        self._deadline.cancel()
        await self.settle()

    def _settle_uncounted(self) -> None:
        """Without checkpoints there are two versions: no files, and some, which must not be taken for lost."""
        if self.version == 0:
            self._work.assume_change()
        self._settled = self.version

    def _request(self) -> _Round:
        """Return the next checkpoint to begin."""
        if self._next is None:
            self._next = _Round()
            if self._making is None:
                self._making = asyncio.create_task(self._make_all())
        return self._next

    async def _make_all(self) -> None:
        try:
            while (round_ := self._next) is not None:
                self._next = None
                await self._make(round_)
                if self._next is None and not self._closed and self._work.needs_tidying():
                    await self._tidy()
        finally:
            self._making = None
            self._on_idle()

    async def _make(self, round_: _Round) -> None:
        began = time.perf_counter()
        scanned = partial(asyncio.get_running_loop().call_soon_threadsafe, round_.note_scanned)
        try:
            if not self._closed:
                self._count(await self._threaded(lambda deadline: self._work.checkpoint(deadline, scanned)), began)
        except (StoreUnavailable, TooManyFiles, TimeoutError, OSError) as error:
            self._failed(round_, f"{type(error).__name__}: {error}")
        except Exception:
            # The border of a checkpoint: a fault of ours must not end the session's calls.
            log.exception("a checkpoint of session %s failed", self.session_id)
            self._failed(round_, "it failed inside the server")
        finally:
            round_.note_scanned()
            round_.ended.set_result(None)
            self._settled = self.version

    def _count(self, size: int, began: float) -> None:
        if size:
            self._failing = False
            counts = self._shared.counts
            counts.checkpoints += 1
            counts.checkpoint_bytes += size
            counts.checkpoint_seconds += time.perf_counter() - began

    def _failed(self, round_: _Round, reason: str) -> None:
        if self._closed:
            return
        self._shared.counts.checkpoint_failures += 1
        log.log(
            logging.DEBUG if self._failing else logging.WARNING,
            "no checkpoint of session %s: %s",
            self.session_id,
            reason,
        )
        self._failing = True
        if not round_.scanned.done():
            self._work.assume_change()

    async def _tidy(self) -> None:
        try:
            await self._threaded(self._work.tidy)
        except (StoreUnavailable, TimeoutError, OSError) as error:
            log.warning(
                "checkpoints of session %s stay scattered: %s: %s", self.session_id, type(error).__name__, error
            )

    async def _threaded(self, work: Callable[[Deadline], T]) -> T:
        self._deadline = deadline = Deadline(self._shared.settings.timeout_seconds)
        return await asyncio.get_running_loop().run_in_executor(self._shared.executor, work, deadline)
