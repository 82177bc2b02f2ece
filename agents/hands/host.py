"""The sandbox host: tool calls of many sessions, each in its session's own sandbox.

This is the class that the sandbox-host actor delegates to. Invariants: one result per call, whatever the
tool does; a call id that this host has seen is never run again; a call that runs goes on when nobody waits
for it any more, until it is cancelled or its time is up.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agents.clock import Clock, SystemClock
from agents.config import CheckpointSettings, SandboxSettings
from agents.hands.admission import Admission
from agents.hands.call_memory import CallMemory, RememberedCall
from agents.hands.checkpoint_store import CheckpointStore
from agents.hands.checkpoint_work import Checkpoints
from agents.hands.drivers import driver_for
from agents.hands.egress.gate import Egress
from agents.hands.egress.settings import EgressSettings
from agents.hands.file_eviction import FileEviction
from agents.hands.incarnation import new_incarnation
from agents.hands.mounts import Mounts
from agents.hands.orphans import kill_orphans
from agents.hands.owed_mounts import OwedMounts
from agents.hands.packages.builder import LayerBuilder
from agents.hands.packages.layers import Layers
from agents.hands.packages.settings import PackageSettings
from agents.hands.port import CallNotSent, CallRefused, ToolCall, ToolResult, Workspace
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxRoot
from agents.hands.sandbox_pool import SandboxPool
from agents.hands.session_outputs import OutputFiles
from agents.hands.session_sandbox import SessionSandbox
from agents.hands.stand_in import remove_abandoned
from agents.hands.tombstones import delete_session
from agents.hands.tool_batch import PlannedCall, changes_files, is_shown, plan_batch, run_planned
from agents.hands.tool_failure import ToolFailure
from agents.hands.tool_output import text_block
from agents.net.guard import Guard
from agents.telemetry.recorder import Recorder, SilentRecorder
from agents.vaults.port import NoCredentials

log = logging.getLogger(__name__)

_FILE_THREADS = 8
_CHECKPOINT_THREADS = 16
"""More than file tools have: most of their time they wait for a disk or a far store."""
_UNKNOWN = " and may have taken effect fully, partly or not at all: check what it did before repeating it"
LINGER_SECONDS = 6.0
"""Twice the ttl of a lease by default: an owner that is lost has been replaced by then."""


@dataclass(frozen=True, slots=True)
class HostStats:
    """Figures of one host since its start; ``live`` and ``warm`` are present values."""

    live: int
    warm: int
    provisions: int
    warm_hits: int
    evictions: int
    failures: int
    provision_seconds: float
    checkpoints: int
    checkpoint_bytes: int
    checkpoint_seconds: float
    checkpoint_failures: int
    restores: int
    restore_seconds: float
    files_evicted: int
    egress_allowed: int
    egress_refused: int
    egress_bytes: int
    claims: int
    claim_seconds: float
    orphans: int
    layer_builds: int
    layer_failures: int
    layer_build_seconds: float
    layers_evicted: int


class SandboxHost:
    """Runs tools in sandboxes; implements the ``Hands`` port."""

    def __init__(
        self,
        settings: SandboxSettings,
        root: Path,
        *,
        name: str = "sandbox-host",
        checkpoints: CheckpointSettings | None = None,
        store: CheckpointStore | None = None,
        admission: Admission | None = None,
        packages: PackageSettings | None = None,
        clock: Clock | None = None,
        linger: float = LINGER_SECONDS,
        recorder: Recorder | None = None,
        mounts: Mounts | None = None,
        outputs: OutputFiles | None = None,
    ) -> None:
        """*root* is the directory of the sandboxes, *store* where their files are copied to (None: nowhere).

        *admission* opens them to the network (by default: to public hosts, without credentials).
        A host that leaves stays for *linger* seconds after its last call. Nothing is touched before ``start``.
        """
        self.incarnation = new_incarnation(name)
        self._settings = settings
        self._clock = clock or SystemClock()
        self._root = SandboxRoot(root)
        self._driver = driver_for(settings)
        self._threads = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="file-tool")
        self._copying = ThreadPoolExecutor(_CHECKPOINT_THREADS, thread_name_prefix="checkpoint")
        self._shared = Checkpoints(checkpoints or CheckpointSettings(), store, self.incarnation, self._copying)
        self._admission = admission or Admission(Egress(EgressSettings(), Guard()), NoCredentials(), os.urandom(32))
        package_settings = packages or PackageSettings()
        builder = LayerBuilder(package_settings, self._root, self._driver, self._admission, self._clock)
        self._layers = Layers(package_settings, self._root, builder, self._clock)
        self._pool = SandboxPool(
            settings,
            self._root,
            self._driver,
            self._clock,
            self._threads,
            self._shared,
            self._admission,
            self._layers,
            recorder or SilentRecorder(),
            mounts or Mounts({}),
            outputs,
        )
        self._eviction = FileEviction(settings, self._root, self._pool, self._clock, self._shared)
        self._owed = OwedMounts(self._pool, self._clock)
        self._memory: CallMemory[ToolResult] = CallMemory()
        self._tasks: list[asyncio.Task[Any]] = []
        self._started = False
        self._orphans = 0
        self._leaving = False
        self._linger = linger
        self._last_ended = float("-inf")

    @property
    def root(self) -> Path:
        """Where the sandboxes' files are (it may differ from what was asked for, see SandboxRoot)."""
        return self._root.path

    async def start(self) -> None:
        """Open the root, fill the warm stock and reap leftovers in the background; raises OSError.

        Must run on the loop of a thread that lives as long as the process: sandboxes die with that thread.
        """
        self._root.open()
        await asyncio.to_thread(self._end_orphans)
        problems = self._driver.check()
        for problem in problems:
            log.error("sandboxes: %s", problem)
        if not problems:
            self._pool.refill()
        work = (
            self._pool.sweep_forever(),
            self._eviction.sweep_forever(),
            self._owed.sweep_forever(),
            self._reap(),
        )
        self._tasks = [asyncio.create_task(each) for each in work]
        self._started = True

    async def stop(self) -> None:
        """End every sandbox; the files of sessions stay."""
        self._started = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._memory.end()
        await self._layers.close()
        await self._pool.close()
        await self._root.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._copying.shutdown(wait=False, cancel_futures=True)

    def stats(self) -> HostStats:
        """Return this host's figures."""
        counts = self._pool.counts
        return HostStats(
            live=self._pool.live,
            warm=self._pool.warm,
            provisions=counts.provisions,
            warm_hits=self._pool.warm_hits,
            evictions=counts.evictions,
            failures=counts.failures,
            provision_seconds=counts.provision_seconds,
            **asdict(self._shared.counts),
            **asdict(self._admission.egress.counts),
            **asdict(self._layers.counts),
            claims=self._pool.claims,
            claim_seconds=self._pool.claim_seconds,
            orphans=self._orphans,
        )

    @property
    def leaving(self) -> bool:
        """Whether this host takes no new calls any more."""
        return self._leaving

    async def drain(self) -> None:
        """Take no new calls; when those that run have ended (each has its own deadline), put every sandbox away.

        Checkpoints of all files are then complete, or have failed; and nobody asks again what a call has given.
        """
        self._leaving = True
        await self._memory.idle()
        await self._pool.rest()
        await self._owed.bring_all()
        # An owner may be lost with a result that it had not written down yet: the next one asks for it.
        if (left := self._last_ended + self._linger - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)

    def place(self, workspace: Workspace) -> str | None:
        """See Hands.place."""
        del workspace
        return self.incarnation

    async def locate(self, workspace: Workspace) -> str:
        """See Hands.locate."""
        del workspace
        return self.incarnation

    async def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        """See Hands.execute. Raises CallNotSent, CallRefused, ValueError for a session id that names no directory."""
        if not self._started or host not in (None, self.incarnation):
            raise CallNotSent(f"the sandbox host {host or self.incarnation} is not running")
        self._root.session_path(workspace.session_id)
        taken = [call for call in calls if not self._leaving or self._remembers(workspace, call)]
        async with aclosing(self._memory.results(taken, self._join(workspace, taken))) as results:
            async for result in results:
                yield result
        if len(taken) < len(calls):
            raise CallRefused(f"the sandbox host {self.incarnation} is leaving")

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        """See Hands.cancel."""
        self._memory.cancel((session_id, call_id) for call_id, host in calls.items() if host == self.incarnation)

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """End the session's sandbox if there is one; with *destroy* its files and checkpoints go too.

        Raises TimeoutError when the sandbox does not end, StoreUnavailable when its checkpoints cannot be deleted,
        SandboxUnavailable when something of the files is to be kept first and cannot be yet.
        """
        await self._memory.end(session_id)
        await self._pool.drop(session_id, discard=destroy)
        if destroy:
            self._memory.forget(session_id)
            base = self._root.session_path(session_id)
            if (store := self._shared.store) is not None:
                delete = partial(delete_session, store, session_id, had_files=base.exists())
                await asyncio.get_running_loop().run_in_executor(self._copying, delete)
            await self._root.remove(base)

    def _remembers(self, workspace: Workspace, call: ToolCall) -> bool:
        return (workspace.session_id, call.call_id) in self._memory

    def _join(self, workspace: Workspace, calls: Sequence[ToolCall]) -> list[RememberedCall[ToolResult]]:
        """Find each call in memory or start it; new bash and grep calls of the batch run beside each other."""
        session_id = workspace.session_id
        plans = plan_batch([call for call in calls if not self._remembers(workspace, call)])
        return [
            self._memory.join((session_id, call.call_id), partial(self._start, workspace, plans.get(call.call_id)))
            for call in calls
        ]

    def _start(self, workspace: Workspace, plan: PlannedCall | None) -> asyncio.Task[ToolResult]:
        """Start a planned call; what it holds is given back when it ends, even if it never got to run."""
        assert plan is not None, "only a new call is started"
        session = self._pool.enter(workspace)
        task = asyncio.create_task(self._run(session, plan, workspace.version))

        def ended(_: asyncio.Task[ToolResult]) -> None:
            self._last_ended = self._clock.monotonic()
            if plan.beside is not None:
                plan.beside.leave()
            self._pool.leave(session)

        task.add_done_callback(ended)
        return task

    async def _run(self, session: SessionSandbox, plan: PlannedCall, known: int) -> ToolResult:
        """Run one call of an owner whose log knows of version *known* of the session's files."""
        call = plan.call
        began = self._clock.monotonic()
        limit = min(call.deadline, self._settings.tool_timeout_seconds)
        failed = True
        try:
            async with asyncio.timeout(limit):
                content = await run_planned(session, plan)
                failed = False
        except ToolFailure as failure:
            content = text_block(str(failure))
        except SandboxUnavailable as error:
            content = text_block(error.message)
        except TimeoutError:
            content = text_block(f"{call.name}: stopped after {limit:g}s, the time limit of one call")
        except asyncio.CancelledError:
            if changes_files(plan):
                session.files.look_soon()
                session.outputs.look_soon()
            raise
        except Exception:
            # The border of a tool call: a fault of ours is an error result too, never a dead session.
            log.exception("tool call %s (%s) failed", call.call_id, call.name)
            content = text_block(
                f"{call.name}: the tool failed inside the server{_UNKNOWN if changes_files(plan) else ''}"
            )
        seconds = self._clock.monotonic() - began
        if changes_files(plan):
            await asyncio.gather(session.files.cover(), session.outputs.cover(), session.keep_mounts())
        version = session.files.newer_than(known)
        problems = ()
        if is_shown(plan):
            content = [*session.take_notices(), *content]
            problems = session.take_problems()
        return ToolResult(
            call.call_id,
            content,
            failed,
            seconds,
            self.incarnation,
            version,
            unreachable=session.unreachable,
            problems=problems,
        )

    def _end_orphans(self) -> None:
        """Kill what dead hosts left running: before anything of this host's own runs."""
        self._orphans = kill_orphans(self._root.path)
        if self._orphans:
            log.info("killed %d processes that dead sandbox hosts left", self._orphans)

    async def _reap(self) -> None:
        reaped = await self._root.reap()
        if reaped:
            log.info("removed %d directories that dead sandbox hosts left", reaped)
        for place in await asyncio.to_thread(remove_abandoned):
            log.info("removed %s, whose data directory was deleted", place)
