"""One session's hands: its directories, its sandbox while it has one, and the calls that run in it.

The sandbox starts on the first call that needs it and again after it was put away or died; the files
outlive it. Invariant: at most one sandbox runs on a session's directories, and it holds a slot of the
pool for exactly as long as it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from agents.clock import Clock
from agents.config import SandboxSettings
from agents.hands import notices
from agents.hands.disk_quota import IDLE_TRUST_SECONDS, DiskQuota
from agents.hands.file_tools import NO_MATCHES, FileInput, run_file_tool
from agents.hands.port import MountProblem, ToolCall, UnreachableHost, Workspace
from agents.hands.sandbox import Sandbox
from agents.hands.session_files import SessionFiles
from agents.hands.session_mounts import MountSource, SessionMounts
from agents.hands.session_outputs import SessionOutputs
from agents.hands.session_state import SessionState
from agents.hands.shell_calls import RESTART_REQUIRED, Command, ForkedCalls, ShellCalls
from agents.hands.shell_script import search_command
from agents.hands.tool_failure import ToolFailure, file_failure
from agents.hands.tool_output import CallFile, OutputLimit, text_block
from agents.hands.toolset import BashInput, EditInput, GrepInput, WriteInput


@dataclass(frozen=True, slots=True)
class Provided:
    """A running sandbox for a session."""

    sandbox: Sandbox
    quota: DiskQuota
    notice: str | None
    """What the model should know about how it came about."""
    shell_only: bool
    """Whether that is about nothing but the shell: then the session may know better."""


class SandboxSource(MountSource, Protocol):
    """Where a session gets its running sandbox and its mounts from, and where it gives its slot back."""

    async def provide(self, session: SessionSandbox) -> Provided:
        """Start or claim a sandbox for *session*, waiting for a free slot. Raises SandboxUnavailable."""
        ...

    def outdated(self, session: SessionSandbox, sandbox: Sandbox) -> bool:
        """Whether *sandbox* has other packages than the session's environment says now."""
        ...

    def renew(self, session: SessionSandbox, sandbox: Sandbox) -> None:
        """Let *sandbox* reach from now on what the session's environment says now."""
        ...

    def ended(self, session: SessionSandbox) -> None:
        """Take note that *session* has no running sandbox any more."""
        ...


class SessionSandbox:
    """The sandbox of one session over time."""

    def __init__(
        self,
        workspace: Workspace,
        source: SandboxSource,
        files: SessionFiles,
        settings: SandboxSettings,
        clock: Clock,
        executor: Executor,
        outputs: Callable[[Callable[[str], None]], SessionOutputs],
    ) -> None:
        self.session_id = workspace.session_id
        self.workspace = workspace
        self.files = files
        self.active = 0
        self.last_used = clock.monotonic()
        self._source = source
        self._settings = settings
        self._clock = clock
        self._executor = executor
        self._sandbox: Sandbox | None = None
        self._quota: DiskQuota | None = None
        self._holds = 0
        """Works under way for which the pool must not forget it."""
        self._notices: list[str] = []
        self.outputs = outputs(self._notices.append)
        self._why_gone: str | None = None
        """Why there is no sandbox, for the model; empty when it knows; None when this object has never had one."""
        self._turnover = asyncio.Lock()
        self._mounts = SessionMounts(self, source, clock, self._notices)
        self._shell = ShellCalls(self)
        self._slots = asyncio.Semaphore(settings.max_parallel_calls)

    @property
    def quota(self) -> DiskQuota:
        assert self._quota is not None, "a sandbox has run"
        return self._quota

    @property
    def idle_for(self) -> float:
        """Seconds since the last call ended; 0 while one runs."""
        return 0.0 if self.active else self._clock.monotonic() - self.last_used

    @property
    def remembers(self) -> bool:
        """Whether something outlives the sandbox: a checkpoint under way, what the model must do or be told."""
        busy = self.files.busy or self.outputs.busy or self._holds > 0
        return self._shell.ended or busy or bool(self._notices or self._mounts.problems)

    def forget(self) -> None:
        """Let the next bash call have a fresh shell without a restart; what matters is noted beside the files."""
        self._shell.ended = False
        self._notices.clear()
        self._mounts.forget()

    async def running(self) -> Sandbox:
        """Return the session's sandbox, started when there is none, with its mounts. Raises SandboxUnavailable."""
        sandbox = await self._running()
        await self._mounts.make(sandbox)
        return sandbox

    async def synchronize(self) -> None:
        """Have in the sandbox what others have changed of what is mounted there. Raises SandboxUnavailable."""
        if self._mounts.are_synced:
            await self.running()
            await self._mounts.synchronize()

    async def keep_mounts(self) -> None:
        """Bring what calls have changed of what is mounted to its sources, or note that it is not there yet."""
        await self._mounts.keep()

    async def _running(self) -> Sandbox:
        if (sandbox := self._usable()) is not None:
            self._source.renew(self, sandbox)
            return sandbox
        async with self._turnover:
            if (sandbox := self._usable()) is not None:
                return sandbox
            why_gone = self._why_new() if self._sandbox is not None else self._why_gone
            await self._end()
            provided = await self._source.provide(self)
            self._sandbox, self._quota = provided.sandbox, provided.quota
            self._note(provided, why_gone)
            return provided.sandbox

    async def end(self, sandbox: Sandbox) -> None:
        """End that sandbox, of which the model knows; does nothing when it is no longer the session's."""
        async with self._turnover:
            if self._sandbox is sandbox:
                self._why_gone = ""
                await self._end()

    async def put_away(self) -> None:
        """End the session's sandbox if there is one; its files stay, and a checkpoint of them is begun."""
        async with self._turnover:
            if self._sandbox is None:
                await self._end(away=True)
                return
            self._why_gone = notices.IDLE
            with self._held():
                await self._end(away=True)
                await self.keep_mounts()

    @contextmanager
    def _held(self) -> Generator[None]:
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    async def discard(self) -> None:
        """End the session's sandbox if there is one, for its files are to be deleted."""
        async with self._turnover:
            await self._end()
            await self.outputs.discard()
            await self.files.discard()

    async def settle(self) -> None:
        """Return when no checkpoint is being made, and no output brought out."""
        await asyncio.gather(self.files.settle(), self.outputs.settle())

    async def evict(self, state: SessionState | None, uid: int | None, remove: Callable[[], None]) -> bool:
        """Have *remove* take the session's files away if a checkpoint has them; whether it did.

        *state* is what is noted beside the files, *uid* their owner. A call that comes meanwhile waits.
        """
        with self._held():
            async with self._turnover:
                if self._sandbox is not None or self._mounts.are_owed:
                    return False
                self.files.stand_on(state)
                await self.outputs.settle()
                if not await self.files.secure(uid):
                    return False
                remove()
                return True

    async def bring_owed(self) -> None:
        """Bring to the sources of mounts what results have promised, unless a sandbox runs, which does it itself.

        A call that comes meanwhile waits. Raises SandboxUnavailable when that is not possible yet.
        """
        with self._held():
            async with self._turnover:
                if self._sandbox is None:
                    await self._mounts.bring_owed()

    async def leave_directories(self) -> None:
        """See that nothing is owed from the session's directories, in whose place others come. As ``bring_owed``."""
        await self._mounts.bring_owed()

    def take_notices(self) -> list[dict[str, Any]]:
        """Return, once, what the model must be told in front of a result."""
        blocks = [notices.notice_block(text) for text in self._notices]
        if blocks:
            self._notices.clear()
            self.files.note_told()
            self._mounts.note_told()
        return blocks

    def take_problems(self) -> tuple[MountProblem, ...]:
        """Return, once, what the session's client must be told."""
        problems = tuple(self._mounts.problems)
        self._mounts.problems.clear()
        return problems

    @property
    def unreachable(self) -> tuple[UnreachableHost, ...]:
        """What its sandbox found about the session's credentials."""
        gate = self._sandbox.gate if self._sandbox is not None else None
        return gate.unreachable if gate is not None else ()

    def show(self, sandbox: Sandbox, output: CallFile, call_id: str) -> str:
        """Return a finished call's output as the model sees it."""
        return self._limit(sandbox).of_file(output, call_id)

    async def bash(
        self, call: ToolCall, request: BashInput, beside: ForkedCalls | None, index: int
    ) -> list[dict[str, Any]]:
        """Run one bash call. Raises ToolFailure, SandboxUnavailable."""
        if request.restart:
            return text_block(await self._shell.restart())
        seconds = request.timeout_ms / 1000 if request.timeout_ms else self._settings.bash_timeout_seconds
        command = Command(request.command or "", seconds, call.call_id)
        if beside is not None and self._shell.ended:
            raise ToolFailure(RESTART_REQUIRED)
        end = await (beside.run(self._shell, index, command, self._slots) if beside else self._shell.alone(command))
        await self._check_disk()
        if end.status != 0:
            raise ToolFailure(end.text)
        return text_block(end.text)

    async def grep(self, call: ToolCall, request: GrepInput, beside: ForkedCalls, index: int) -> list[dict[str, Any]]:
        """Run one grep call. Raises ToolFailure, SandboxUnavailable."""
        sandbox = await self.running()
        try:
            path = sandbox.files.absolute(request.path or ".")
        except OSError as error:
            raise file_failure("grep", request.path or ".", error) from error
        command = Command(search_command(request.pattern, path), self._settings.bash_timeout_seconds, call.call_id)
        end = await beside.run(self._shell, index, command, self._slots)
        if end.status == 1 and not end.text:
            return text_block(NO_MATCHES)
        if end.status != 0:
            raise ToolFailure(f"grep: {end.text or f'rg ended with status {end.status}'}")
        return text_block(end.text)

    async def file_tool(self, call: ToolCall, request: FileInput) -> list[dict[str, Any]]:
        """Run one of read, write, edit, glob in a worker thread. Raises ToolFailure, SandboxUnavailable."""
        async with self._slots:
            sandbox = await self.running()
            writes = isinstance(request, WriteInput | EditInput)
            if writes:
                await self._check_disk()
            sandbox.files.enter()
            job = self._executor.submit(run_file_tool, sandbox.files, request)
            job.add_done_callback(lambda _: sandbox.files.leave())
            blocks = await asyncio.wrap_future(job)
            if writes:
                await self._check_disk()
            return [self._bounded(sandbox, block, call.call_id) for block in blocks]

    async def over_quota(self) -> bool:
        """Whether background processes have filled the disk of a session without calls."""
        return self._sandbox is not None and await self.quota.exceeded(trust=IDLE_TRUST_SECONDS)

    async def _check_disk(self) -> None:
        if await self.quota.exceeded():
            raise ToolFailure(self.quota.message)

    def _bounded(self, sandbox: Sandbox, block: dict[str, Any], call_id: str) -> dict[str, Any]:
        if block["type"] != "text":
            return block
        return {"type": "text", "text": self._limit(sandbox).of_text(block["text"], call_id)}

    def _limit(self, sandbox: Sandbox) -> OutputLimit:
        return OutputLimit(self._settings.output_chars, sandbox.dirs, sandbox.scratch)

    def _usable(self) -> Sandbox | None:
        """The running sandbox, unless it must be replaced."""
        return self._sandbox if self._sandbox is not None and self._why_new() is None else None

    def _why_new(self) -> str | None:
        """Why the sandbox must be replaced, for the model; None when it need not be."""
        assert self._sandbox is not None, "there is one"
        if not self._sandbox.alive:
            return notices.DIED
        if self._source.outdated(self, self._sandbox):
            return notices.PACKAGES_CHANGED
        # The session has gone on elsewhere since.
        return notices.FILES_OLDER if self.files.version < self.workspace.version else None

    def _note(self, provided: Provided, why_gone: str | None) -> None:
        notice = provided.notice
        if provided.shell_only and why_gone is not None:
            notice = why_gone
        if notice:
            self._notices.append(notice)

    async def _end(self, *, away: bool = False) -> None:
        if self._sandbox is not None:
            await self._sandbox.end()
        if away:
            # Before the pool may forget this object: whoever comes next must wait for what is noted here.
            self.files.put_away()
            self.outputs.look_soon()
        self._mounts.sandbox_ended()
        if self._sandbox is not None:
            self._sandbox = None
            self._source.ended(self)
