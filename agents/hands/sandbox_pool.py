"""Which sandboxes of a host run: warm ones in stock, live ones within a limit, idle ones put away.

Invariant: never more than ``max_live`` sessions have a running sandbox; who needs one beyond that takes
the place of the session that has been idle longest, or waits (its call's deadline bounds the wait).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.clock import Clock
from agents.config import SandboxSettings
from agents.hands.disk_quota import DiskQuota
from agents.hands.sandbox import Sandbox, SandboxDriver, SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs, SandboxRoot
from agents.hands.seed import seed_workspace
from agents.hands.session_sandbox import SessionSandbox

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 1.0
_REFILL_DELAY_SECONDS = 0.02
_REFILL_RETRY_SECONDS = 30.0


@dataclass(slots=True)
class PoolCounts:
    """What happened since the start."""

    provisions: int = 0
    warm_hits: int = 0
    evictions: int = 0
    failures: int = 0
    provision_seconds: float = 0.0


class SandboxPool:
    """The sandboxes of one host."""

    def __init__(
        self, settings: SandboxSettings, root: SandboxRoot, driver: SandboxDriver, clock: Clock, executor: Executor
    ) -> None:
        self.counts = PoolCounts()
        self._settings = settings
        self._root = root
        self._driver = driver
        self._clock = clock
        self._executor = executor
        self._sessions: dict[str, SessionSandbox] = {}
        self._live: set[SessionSandbox] = set()
        self._idle: OrderedDict[SessionSandbox, None] = OrderedDict()
        """The live ones without a call, the longest idle first."""
        self._changed = asyncio.Event()
        self._stock: dict[bool, deque[tuple[SandboxDirs, Sandbox]]] = {False: deque()}
        self._refilling: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def warm(self) -> int:
        return sum(len(stock) for stock in self._stock.values())

    def enter(self, session_id: str, *, network: bool) -> SessionSandbox:
        """Return a session's sandbox for one call, kept from being put away until ``leave``."""
        session = self._sessions.get(session_id)
        if session is None:
            session = SessionSandbox(session_id, self, self._settings, self._clock, self._executor)
            self._sessions[session_id] = session
        if session.active == 0:
            session.network = network
        session.active += 1
        self._idle.pop(session, None)
        return session

    def leave(self, session: SessionSandbox) -> None:
        """End what ``enter`` began."""
        session.active -= 1
        session.last_used = self._clock.monotonic()
        self._note_idle(session)
        self._forget_unused(session)

    async def drop(self, session_id: str) -> None:
        """End a session's sandbox, whatever runs in it."""
        session = self._sessions.get(session_id)
        if session is not None:
            await session.put_away()
            session.forget_shell()
            self._forget_unused(session)

    async def provide(self, session: SessionSandbox) -> tuple[Sandbox, DiskQuota]:
        """Give *session* a running sandbox: from the stock, or started now. Raises SandboxUnavailable."""
        await self._take_slot(session)
        began = self._clock.monotonic()
        try:
            sandbox, fresh = self._claim(session) or await self._start(session)
            quota = DiskQuota(sandbox.dirs, self._settings.disk_bytes, self._clock, fresh=fresh)
        except OSError as error:
            self.ended(session)
            self.counts.failures += 1
            raise SandboxUnavailable(f"the sandbox did not start: {error.strerror}") from error
        except BaseException:
            self.ended(session)
            self.counts.failures += 1
            raise
        self.counts.provisions += 1
        self.counts.provision_seconds += self._clock.monotonic() - began
        return sandbox, quota

    def ended(self, session: SessionSandbox) -> None:
        """Free the slot of a session whose sandbox has ended."""
        self._live.discard(session)
        self._idle.pop(session, None)
        self._forget_unused(session)

    def refill(self) -> None:
        """Bring the stock of warm sandboxes up to its size in the background."""
        if self._driver.warmable and not self._closed and (self._refilling is None or self._refilling.done()):
            self._refilling = asyncio.create_task(self._refill())

    async def sweep_forever(self) -> None:
        """Put away what is idle too long or has filled its disk without a call under way."""
        while True:
            await self._clock.sleep(min(_SWEEP_SECONDS, self._settings.idle_seconds))
            for session in [session for session in self._sessions.values() if session.active == 0]:
                idle = session.idle_for >= self._settings.idle_seconds
                if idle or await session.over_quota():
                    await self._put_away(session)
                if idle and session.active == 0:
                    self._sessions.pop(session.session_id, None)

    async def close(self) -> None:
        """End every sandbox; the files of sessions stay."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.wait({self._refilling})
        warm = [entry for stock in self._stock.values() for entry in stock]
        self._stock = {}
        await asyncio.gather(*(session.put_away() for session in list(self._sessions.values())))
        await asyncio.gather(*(self._retire(dirs, sandbox) for dirs, sandbox in warm), *self._background)

    def _forget_unused(self, session: SessionSandbox) -> None:
        if session.active == 0 and session not in self._live and not session.remembers:
            self._sessions.pop(session.session_id, None)
        self._changed.set()

    async def _take_slot(self, session: SessionSandbox) -> None:
        while session not in self._live and len(self._live) >= self._settings.max_live:
            longest_idle = next(iter(self._idle), None)
            if longest_idle is not None:
                self.counts.evictions += 1
                await self._put_away(longest_idle)
            else:
                self._changed.clear()
                await self._changed.wait()
        self._live.add(session)
        self._note_idle(session)

    def _note_idle(self, session: SessionSandbox) -> None:
        if session.active == 0 and session in self._live:
            self._idle[session] = None

    async def _put_away(self, session: SessionSandbox) -> None:
        try:
            await session.put_away()
        except TimeoutError:
            log.error("the sandbox of session %s does not end", session.session_id)
            self.ended(session)

    def _claim(self, session: SessionSandbox) -> tuple[Sandbox, bool] | None:
        stock = self._stock.setdefault(session.network, deque())
        claimed: Sandbox | None = None
        while stock and claimed is None and not self._root.session_path(session.session_id).exists():
            warm, sandbox = stock.popleft()
            if not sandbox.alive:
                self._spawn(self._retire(warm, sandbox))
                continue
            sandbox.dirs = self._root.claim(warm, session.session_id)
            claimed = sandbox
            self.counts.warm_hits += 1
        self.refill()
        return (claimed, True) if claimed else None

    async def _start(self, session: SessionSandbox) -> tuple[Sandbox, bool]:
        fresh = not self._root.session_path(session.session_id).exists()
        dirs = self._root.make(session.session_id)
        if fresh:
            await self._seed(dirs)
        return await self._driver.start(dirs, network=session.network), fresh

    async def _seed(self, dirs: SandboxDirs) -> None:
        source = self._settings.seed_dir
        if source is not None:
            copy = partial(seed_workspace, uid=dirs.uid, max_bytes=self._settings.seed_bytes)
            await asyncio.to_thread(copy, source, dirs.of("workspace"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _retire(self, dirs: SandboxDirs, sandbox: Sandbox) -> None:
        try:
            await sandbox.end()
        except TimeoutError:
            log.error("a warm sandbox does not end")
        await self._root.remove(dirs.base)

    async def _refill(self) -> None:
        # Starting a process occupies the loop; the call that emptied the stock goes first.
        await self._clock.sleep(_REFILL_DELAY_SECONDS)
        for network in list(self._stock):
            while len(self._stock[network]) < self._settings.warm:
                dirs = self._root.make_warm()
                try:
                    await self._seed(dirs)
                    sandbox = await self._driver.start(dirs, network=network)
                except (SandboxUnavailable, OSError) as error:
                    log.warning("no warm sandbox: %s", error)
                    await self._root.remove(dirs.base)
                    await self._clock.sleep(_REFILL_RETRY_SECONDS)
                    continue
                self._stock[network].append((dirs, sandbox))
