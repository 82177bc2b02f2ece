"""Giving a session a running sandbox on its files, wherever those are.

Invariant: a provision that fails, is cancelled or comes too late leaves nothing: no process, no directory of a
session that had none, no warm sandbox that nobody can claim any more.
"""

from __future__ import annotations

import asyncio
from functools import partial

from agents.clock import Clock
from agents.config import SandboxSettings
from agents.hands.admission import Admission
from agents.hands.checkpoint_work import Checkpoints
from agents.hands.disk_quota import DiskQuota
from agents.hands.layer import Layer
from agents.hands.recovery import Standing, look, recover
from agents.hands.sandbox import Sandbox, SandboxDriver
from agents.hands.sandbox_dirs import SandboxDirs, SandboxRoot
from agents.hands.seed import seed_workspace
from agents.hands.session_sandbox import Provided, SessionSandbox
from agents.hands.threads import to_its_end
from agents.hands.warm_demand import WarmDemand
from agents.hands.warm_stock import WarmStock


class Provisioner:
    """Starts sandboxes on the directories of sessions."""

    def __init__(
        self,
        settings: SandboxSettings,
        root: SandboxRoot,
        driver: SandboxDriver,
        clock: Clock,
        shared: Checkpoints,
        admission: Admission,
    ) -> None:
        self.warm_hits = 0
        self.claims = 0
        """Sandboxes for sessions without files: those that a warm one could serve."""
        self.claim_seconds = 0.0
        demand = WarmDemand(settings.warm, settings.warm_most, clock)
        self.stock = WarmStock(demand, root, driver, clock, self._seed)
        self._settings = settings
        self._root = root
        self._driver = driver
        self._clock = clock
        self._shared = shared
        self._admission = admission

    async def provision(self, session: SessionSandbox, layer: Layer | None) -> Provided:
        """Start or claim a sandbox with the packages of *layer* on the files of *session*.

        Raises SandboxUnavailable, OSError.
        """
        began = self._clock.monotonic()
        standing = await look(self._root, self._shared, session.workspace)
        fresh = standing.where == "nowhere"
        sandbox = self._claimed(session, layer) if fresh else None
        if sandbox is None:
            dirs = await self._directories(session, standing)
            sandbox = await self._started(dirs, layer, fresh)
        try:
            await self._admission.admit(sandbox, session.workspace)
            quota = DiskQuota(sandbox.dirs, self._settings.disk_bytes, self._clock, fresh=fresh)
            session.files.note_running(session.workspace.version, sandbox.dirs.uid)
        except BaseException:
            await sandbox.end()
            raise
        if fresh:
            self.claims += 1
            self.claim_seconds += self._clock.monotonic() - began
        return Provided(sandbox, quota, standing.notice, shell_only=standing.shell_only)

    def _claimed(self, session: SessionSandbox, layer: Layer | None) -> Sandbox | None:
        """Give the session a warm sandbox, if there is one."""
        ready = self.stock.take(layer)
        self.stock.refill()
        if ready is None:
            return None
        try:
            ready.sandbox.dirs = self._root.claim(ready.dirs, session.session_id)
        except OSError:
            self.stock.retire(ready)
            raise
        self.warm_hits += 1
        return ready.sandbox

    async def _directories(self, session: SessionSandbox, standing: Standing) -> SandboxDirs:
        """Return the directories with the session's files, which are its own from then on."""
        match standing.where:
            case "here":
                dirs = self._root.make(session.session_id)
                session.files.stand_on(standing.state)
            case "store":
                await session.leave_directories()
                recovered = await recover(self._root, self._shared, session.workspace, standing)
                await session.files.settle()
                dirs = self._root.replace(recovered.dirs, session.session_id)
                session.files.take_over(recovered.state, recovered.history)
                standing.notice = recovered.state.notice
            case "nowhere":
                made = self._root.make_warm()
                try:
                    await self._seed(made)
                    dirs = self._root.claim(made, session.session_id)
                except BaseException:
                    self._root.discard(made.base)
                    raise
        return dirs

    async def _started(self, dirs: SandboxDirs, layer: Layer | None, fresh: bool) -> Sandbox:
        try:
            return await self._driver.start(dirs, layer)
        except BaseException:
            if fresh:
                self._root.discard(dirs.base)
            raise

    async def _seed(self, dirs: SandboxDirs) -> None:
        source = self._settings.seed_dir
        if source is not None:
            copy = partial(seed_workspace, uid=dirs.uid, max_bytes=self._settings.seed_bytes)
            await to_its_end(asyncio.to_thread(copy, source, dirs.of("workspace")))
