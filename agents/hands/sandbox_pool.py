"""Which sandboxes of a host run: live ones within a limit, idle ones put away.

Invariant: never more than ``max_live`` sessions have a running sandbox; who needs one beyond that takes
the place of the session that has been idle longest, or waits (its call's deadline bounds the wait).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from agents.clock import Clock
from agents.config import SandboxSettings
from agents.hands.admission import Admission
from agents.hands.checkpoint_work import Checkpoints
from agents.hands.mounts import MountReport, Mounts
from agents.hands.packages.layers import Layers
from agents.hands.port import Workspace
from agents.hands.provisioning import Provisioner
from agents.hands.sandbox import Sandbox, SandboxDriver, SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxRoot
from agents.hands.session_files import SessionFiles
from agents.hands.session_outputs import OutputFiles, SessionOutputs
from agents.hands.session_sandbox import Provided, SessionSandbox
from agents.hands.session_state import read_state
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 1.0
_SETTLE_SECONDS = 5.0
"""Granted to checkpoints beyond their own limit when the host ends."""


@dataclass(slots=True)
class PoolCounts:
    """What happened since the start."""

    provisions: int = 0
    evictions: int = 0
    failures: int = 0
    provision_seconds: float = 0.0


class SandboxPool:
    """The sandboxes of one host."""

    def __init__(
        self,
        settings: SandboxSettings,
        root: SandboxRoot,
        driver: SandboxDriver,
        clock: Clock,
        executor: Executor,
        shared: Checkpoints,
        admission: Admission,
        layers: Layers,
        recorder: Recorder,
        mounts: Mounts,
        outputs: OutputFiles | None,
    ) -> None:
        self._recorder = recorder
        recorder.collect(self._tell)
        self.counts = PoolCounts()
        self._settings = settings
        self._root = root
        self._clock = clock
        self._executor = executor
        self._shared = shared
        self._admission = admission
        self._layers = layers
        self._mounts = mounts
        self._outputs = outputs
        self._provisioner = Provisioner(settings, root, driver, clock, shared, admission)
        self._sessions: dict[str, SessionSandbox] = {}
        self._live: set[SessionSandbox] = set()
        self._idle: OrderedDict[SessionSandbox, None] = OrderedDict()
        """The live ones without a call, the longest idle first."""
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def warm(self) -> int:
        return len(self._provisioner.stock)

    @property
    def warm_hits(self) -> int:
        return self._provisioner.warm_hits

    @property
    def claims(self) -> int:
        return self._provisioner.claims

    @property
    def claim_seconds(self) -> float:
        return self._provisioner.claim_seconds

    def _tell(self, recorder: Recorder) -> None:
        recorder.set(catalogue.SANDBOX_LIVE, self.live)
        recorder.set(catalogue.SANDBOX_WARM, self.warm)
        recorder.set(catalogue.SANDBOX_HITS, self.warm_hits)
        recorder.set(catalogue.SANDBOX_MISSES, self.claims - self.warm_hits)
        recorder.set(catalogue.SANDBOX_EVICTIONS, self.counts.evictions)

    def _count_output(self, size: int) -> None:
        self._recorder.count(catalogue.FILE_BYTES, "output", by=size)

    def enter(self, workspace: Workspace) -> SessionSandbox:
        """Return a session's sandbox for one call, kept from being put away until ``leave``."""
        session = self._session(workspace)
        if session.workspace.version <= workspace.version:
            session.workspace = workspace
        session.active += 1
        self._idle.pop(session, None)
        return session

    def _session(self, workspace: Workspace) -> SessionSandbox:
        session_id = workspace.session_id
        session = self._sessions.get(session_id)
        if session is None:
            base = self._root.session_path(session_id)
            forget = partial(self._forget_if_unused, session_id)
            files = SessionFiles(session_id, base, self._shared, forget)
            count, clock, executor = self._count_output, self._clock, self._shared.executor
            outputs = partial(SessionOutputs, session_id, base, self._outputs, executor, forget, count, clock)
            session = SessionSandbox(workspace, self, files, self._settings, self._clock, self._executor, outputs)
            self._sessions[session_id] = session
        return session

    def leave(self, session: SessionSandbox) -> None:
        """End what ``enter`` began."""
        session.active -= 1
        session.last_used = self._clock.monotonic()
        self._note_idle(session)
        self._forget_unused(session)

    async def drop(self, session_id: str, *, discard: bool) -> None:
        """End a session's sandbox, whatever runs in it; with *discard* its files are about to be deleted.

        Raises SandboxUnavailable when they must not be deleted yet.
        """
        session = self._sessions.get(session_id)
        if session is not None:
            await (session.discard() if discard else session.put_away())
            session.forget()
            self._forget_unused(session)
        if discard:
            await self.bring_owed_of(session_id)

    def knows(self, session_id: str) -> bool:
        """Whether a session was in use lately."""
        return session_id in self._sessions

    async def evict(self, session_id: str) -> bool:
        """Remove the files of a session that is not in use, if a checkpoint has them; whether that was done."""
        session = self._session(Workspace(session_id))
        base = self._root.session_path(session_id)
        state, uid = read_state(str(base)), self._root.owner_of(session_id)
        try:
            return await session.evict(state, uid, lambda: self._root.discard(base))
        finally:
            self._forget_unused(session)

    def owing(self) -> list[str]:
        """Return the sessions of which results have promised to keep something later, and that are not in use."""
        owes = self._mounts.owes
        return [name for name in self._root.sessions() if not self.knows(name) and owes(self._root.session_path(name))]

    async def bring_owed_of(self, session_id: str) -> None:
        """Keep that promise, if there is one. Raises SandboxUnavailable when that is not possible yet."""
        if not self._mounts.owes(self._root.session_path(session_id)):
            return
        session = self._session(Workspace(session_id))
        try:
            await session.bring_owed()
        finally:
            self._forget_unused(session)

    async def provide(self, session: SessionSandbox) -> Provided:
        """Give *session* a running sandbox: from the stock, or started now. Raises SandboxUnavailable."""
        # First, for this may take minutes, and a slot is for who can use it.
        layer = await self._layers.of(session.workspace.environment)
        await self._take_slot(session)
        began = self._clock.monotonic()
        try:
            provided = await self._provisioner.provision(session, layer)
        except OSError as error:
            self.ended(session)
            self.counts.failures += 1
            raise SandboxUnavailable(f"the sandbox did not start: {error.strerror}") from error
        except BaseException:
            self.ended(session)
            self.counts.failures += 1
            raise
        seconds = self._clock.monotonic() - began
        self.counts.provisions += 1
        self.counts.provision_seconds += seconds
        self._recorder.observe(catalogue.SANDBOX_PROVISION_SECONDS, seconds)
        return provided

    def outdated(self, session: SessionSandbox, sandbox: Sandbox) -> bool:
        """See SandboxSource."""
        has = "" if sandbox.layer is None else sandbox.layer.digest
        return has != self._layers.digest(session.workspace.environment)

    def renew(self, session: SessionSandbox, sandbox: Sandbox) -> None:
        """See SandboxSource."""
        self._admission.renew(sandbox, session.workspace)

    async def mount(self, session: SessionSandbox, sandbox: Sandbox) -> MountReport:
        """See SandboxSource."""
        try:
            return await self._mounts.make(session.session_id, sandbox.dirs, session.workspace.mounts)
        except OSError as error:
            raise SandboxUnavailable(f"the session's resources cannot be mounted: {error.strerror}") from error

    def are_synced(self, session: SessionSandbox) -> bool:
        """See SandboxSource."""
        return self._mounts.are_synced(session.workspace.mounts)

    async def synchronize(self, session: SessionSandbox) -> list[str]:
        """See SandboxSource."""
        # Not those of a sandbox: it may have ended, and its files are as it has left them.
        dirs = self._root.make(session.session_id)
        try:
            return await self._mounts.synchronize(session.session_id, dirs, session.workspace.mounts)
        except OSError as error:
            raise SandboxUnavailable(f"the session's resources cannot be kept: {error.strerror}") from error

    def owes(self, session: SessionSandbox) -> bool:
        """See SandboxSource."""
        return self._mounts.owes(self._root.session_path(session.session_id))

    async def bring_owed(self, session: SessionSandbox) -> None:
        """See SandboxSource."""
        try:
            await self._mounts.bring_owed(session.session_id, self._root.make(session.session_id))
        except OSError as error:
            raise SandboxUnavailable(f"the session's resources cannot be kept: {error.strerror}") from error

    def ended(self, session: SessionSandbox) -> None:
        """Free the slot of a session whose sandbox has ended."""
        self._live.discard(session)
        self._idle.pop(session, None)
        self._forget_unused(session)

    def refill(self) -> None:
        """Bring the stock of warm sandboxes up to its size in the background."""
        self._provisioner.stock.refill()

    async def sweep_forever(self) -> None:
        """Put away what is idle too long or has filled its disk without a call under way."""
        while True:
            await self._clock.sleep(min(_SWEEP_SECONDS, self._settings.idle_seconds))
            self._provisioner.stock.trim()
            resting = [session for session in self._sessions.values() if session.active == 0]
            due = [session for session in resting if self._is_due(session) or await session.over_quota()]
            # Together: each may wait for the sources of its mounts.
            await asyncio.gather(*map(self._put_away, due))
            for session in due:
                if self._is_idle(session):
                    session.forget()
                    self._forget_unused(session)

    def _is_due(self, session: SessionSandbox) -> bool:
        return self._is_idle(session) and not session.outputs.pausing

    def _is_idle(self, session: SessionSandbox) -> bool:
        return session.active == 0 and session.idle_for >= self._settings.idle_seconds

    async def rest(self) -> None:
        """End every sandbox and have a checkpoint of every session's files; they stay."""
        sessions = list(self._sessions.values())
        await asyncio.gather(*(self._put_away(session) for session in sessions))
        limit = self._shared.settings.timeout_seconds + _SETTLE_SECONDS
        settling = [asyncio.create_task(session.settle()) for session in sessions]
        late = (await asyncio.wait(settling, timeout=limit))[1] if settling else set[asyncio.Task[None]]()
        for task in late:
            task.cancel()
        if late:
            log.error("%d sessions are left without a last checkpoint, or with outputs that nobody has", len(late))

    async def close(self) -> None:
        """End every sandbox; the files of sessions stay."""
        self._closed = True
        self._changed.set()
        await self.rest()
        await self._provisioner.stock.close()

    def _forget_if_unused(self, session_id: str) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            self._forget_unused(session)

    def _forget_unused(self, session: SessionSandbox) -> None:
        known = self._sessions.get(session.session_id) is session
        if known and session.active == 0 and session not in self._live and not session.remembers:
            del self._sessions[session.session_id]
        self._changed.set()

    async def _take_slot(self, session: SessionSandbox) -> None:
        while session not in self._live and len(self._live) >= self._settings.max_live and not self._closed:
            longest_idle = next(iter(self._idle), None)
            if longest_idle is not None:
                self.counts.evictions += 1
                await self._put_away(longest_idle)
            else:
                self._changed.clear()
                await self._changed.wait()
        if self._closed:
            raise SandboxUnavailable("the sandbox host is shutting down")
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
