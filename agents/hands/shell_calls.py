"""How the calls of one session share its persistent shell.

A bash call that is alone runs in the shell itself, so all that it changes survives. Several bash and grep
calls of one batch run at the same time as forked copies of the shell; when the last one has ended, their
changes of directory and of exported variables are brought back in call order. Invariant: the lock is held
while a command runs in the shell itself and while a batch of copies runs, and a cancelled call kills what
it started before the lock is free again.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Protocol

from agents.hands.disk_quota import DiskQuota
from agents.hands.sandbox import Sandbox
from agents.hands.shell import ShellGone
from agents.hands.shell_script import ShellState, parse_state
from agents.hands.tool_failure import ToolFailure
from agents.hands.tool_output import CallFile

RESTART_REQUIRED = "bash: the shell has ended; restart required (call bash with restart: true)"
_WATCH_SECONDS = 1.0
_WATCH_SECONDS_WHEN_FULL = 0.2
_names = itertools.count(1)


class CommandStopped(Exception):
    """The server stopped a command; the text says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a shell is asked to run, and for how long at most."""

    text: str
    seconds: float
    call_id: str


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended."""

    text: str
    status: int


class SandboxOwner(Protocol):
    """What shell calls need of the session they run for."""

    @property
    def quota(self) -> DiskQuota:
        """The disk limit of the session's files."""
        ...

    async def running(self) -> Sandbox:
        """Return the session's sandbox, started when there is none. Raises SandboxUnavailable."""
        ...

    async def end(self, sandbox: Sandbox) -> None:
        """End that sandbox; does nothing when it is no longer the session's."""
        ...

    def show(self, sandbox: Sandbox, output: CallFile, call_id: str) -> str:
        """Return a finished call's output as the model sees it."""
        ...


async def watch(status: asyncio.Future[int], seconds: float, quota: DiskQuota) -> int:
    """Wait for a command's exit status; raises CommandStopped at its time limit or the disk limit, or ShellGone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    used_before = quota.used
    # A session over its limit may delete, but what it adds is noticed sooner.
    pause = _WATCH_SECONDS_WHEN_FULL if used_before > quota.limit else _WATCH_SECONDS
    while True:
        done, _ = await asyncio.wait({status}, timeout=min(pause, max(0.0, deadline - loop.time())))
        if done:
            return status.result()
        if loop.time() >= deadline:
            raise CommandStopped(f"timed out after {seconds:g}s")
        if await quota.exceeded() and quota.used > used_before:
            raise CommandStopped(quota.message)


class ShellCalls:
    """The shell of one session, over all the sandboxes it may have in turn."""

    def __init__(self, owner: SandboxOwner) -> None:
        self.owner = owner
        self.lock = asyncio.Lock()
        self.ended = False

    async def restart(self) -> str:
        """Give the session a fresh shell; its files stay. Raises SandboxUnavailable."""
        async with self.lock:
            await self.owner.end(await self.owner.running())
            self.ended = False
            await self.owner.running()
        return "bash session restarted"

    async def alone(self, command: Command) -> CommandEnd:
        """Run *command* in the shell itself. Raises ToolFailure when the shell has ended or ends."""
        async with self.lock:
            if self.ended:
                raise ToolFailure(RESTART_REQUIRED)
            sandbox = await self.owner.running()
            output = CallFile.create(sandbox.dirs, sandbox.calls, f"{next(_names)}")
            try:
                status = await self._in_shell(sandbox, command, output)
                return CommandEnd(self.owner.show(sandbox, output, command.call_id), status)
            except (CommandStopped, ShellGone) as stop:
                await self.owner.end(sandbox)
                text = self.owner.show(sandbox, output, command.call_id)
                raise ToolFailure(_ended_text(text, stop)) from stop
            finally:
                output.close()

    async def _in_shell(self, sandbox: Sandbox, command: Command, output: CallFile) -> int:
        try:
            status = sandbox.shell.run(command.text, output.shell_path)
            return await watch(status, command.seconds, self.owner.quota)
        except BaseException:
            # Also when this call is cancelled: the command must not run on into the next call.
            self.ended = True
            sandbox.kill()
            raise


def _ended_text(text: str, stop: Exception) -> str:
    said = f"{text}\n" if text else ""
    if isinstance(stop, ShellGone):
        return f"{said}bash: the shell exited with status {stop.code}; restart required (restart: true)"
    return f"{said}bash: command {stop}; the shell was ended, restart required (restart: true)"


class ForkedCalls:
    """The bash and grep calls of one batch, run at the same time. Every member ends with ``leave``."""

    def __init__(self, members: int, *, merges: bool) -> None:
        """*merges* tells whether any member is a bash call, whose changes are brought back."""
        self._left = members
        self._merges = merges
        self._lock: asyncio.Lock | None = None
        self._states: dict[int, ShellState] = {}
        self._opening: asyncio.Task[tuple[Sandbox, ShellState | None]] | None = None

    async def run(self, shell: ShellCalls, index: int, command: Command, slots: asyncio.Semaphore) -> CommandEnd:
        """Run *command* as member *index*. Raises ToolFailure at a limit, SandboxUnavailable."""
        sandbox, base = await self._open(shell)
        async with slots:
            name = f"{next(_names)}"
            output = CallFile.create(sandbox.dirs, sandbox.calls, name)
            state = CallFile.create(sandbox.dirs, sandbox.calls, f"{name}.state") if base else None
            try:
                status = await _fork(sandbox, command, output, state, shell.owner.quota)
                if state is not None and (after := parse_state(state.read())) is not None:
                    self._states[index] = after
                return CommandEnd(shell.owner.show(sandbox, output, command.call_id), status)
            except (CommandStopped, ShellGone) as stop:
                text = shell.owner.show(sandbox, output, command.call_id)
                raise ToolFailure(f"{text}\ncommand {stop}".strip()) from stop
            finally:
                output.close()
                if state is not None:
                    state.close()

    def leave(self) -> None:
        """Count one member out; after the last one the changes are merged and the shell is free."""
        self._left -= 1
        opening = self._opening
        if self._left > 0 or opening is None:
            return
        if not opening.done():
            opening.cancel()
            return
        if opening.cancelled() or opening.exception() is not None:
            return
        sandbox, base = opening.result()
        try:
            if base is not None and sandbox.alive:
                sandbox.shell.merge(base, [self._states[index] for index in sorted(self._states)])
        finally:
            assert self._lock is not None, "an opened batch holds the lock"
            self._lock.release()

    async def _open(self, shell: ShellCalls) -> tuple[Sandbox, ShellState | None]:
        if self._opening is None:
            self._opening = asyncio.create_task(self._take(shell))
        return await asyncio.shield(self._opening)

    async def _take(self, shell: ShellCalls) -> tuple[Sandbox, ShellState | None]:
        await shell.lock.acquire()
        self._lock = shell.lock
        try:
            sandbox = await shell.owner.running()
            return sandbox, await _base_state(sandbox) if self._merges else None
        except BaseException:
            self._lock.release()
            raise


async def _base_state(sandbox: Sandbox) -> ShellState | None:
    file = CallFile.create(sandbox.dirs, sandbox.calls, f"{next(_names)}.state")
    try:
        await sandbox.shell.dump(file.shell_path)
        return parse_state(file.read())
    except ShellGone:
        return None
    finally:
        file.close()


async def _fork(sandbox: Sandbox, command: Command, output: CallFile, state: CallFile | None, quota: DiskQuota) -> int:
    status, group = sandbox.shell.fork(command.text, output.shell_path, state.shell_path if state else None)
    try:
        return await watch(status, command.seconds, quota)
    except BaseException:
        if group.done():
            _kill_group(sandbox, group)
        else:
            group.add_done_callback(lambda known: _kill_group(sandbox, known))
        raise


def _kill_group(sandbox: Sandbox, group: asyncio.Future[int]) -> None:
    if not group.cancelled() and group.exception() is None and sandbox.alive:
        sandbox.shell.kill_group(group.result())
