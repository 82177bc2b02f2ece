"""Hands without processes: the in-memory twin of the sandbox host, held to the same contract.

For tests and dry runs. Time is the injected clock's, so a test with a ManualClock decides when a sleeping
command ends or times out.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from agents.clock import Clock, SystemClock
from agents.hands.call_memory import CallMemory, RememberedCall
from agents.hands.glob_pattern import GlobPattern
from agents.hands.incarnation import new_incarnation
from agents.hands.memory_shell import MemoryFiles, MemoryShell, ShellExit
from agents.hands.notices import IDLE, notice_block
from agents.hands.port import CallNotSent, ToolCall, ToolResult, Workspace
from agents.hands.shell_calls import RESTART_REQUIRED
from agents.hands.text_edits import (
    MAX_TEXT_BYTES,
    LineWindow,
    decode_text,
    media_block,
    media_type,
    replace_text,
    too_large,
)
from agents.hands.tool_failure import ToolFailure, file_failure
from agents.hands.tool_output import text_block
from agents.hands.toolset import (
    BashInput,
    EditInput,
    GlobInput,
    GrepInput,
    ReadInput,
    ToolInput,
    WriteInput,
    parse_input,
)

_HOME = "/workspace"
_MAX_RESULTS = 200


class MemoryHands:
    """The ``Hands`` port over dictionaries."""

    def __init__(self, *, clock: Clock | None = None, bash_timeout_seconds: float = 120.0) -> None:
        self.incarnation = new_incarnation("memory")
        self._clock = clock or SystemClock()
        self._bash_timeout = bash_timeout_seconds
        self._sessions: dict[str, _MemorySession] = {}
        self._memory: CallMemory[ToolResult] = CallMemory()

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
        """See Hands.execute. Raises CallNotSent."""
        if host not in (None, self.incarnation):
            raise CallNotSent(f"{host} is not there")
        joined = self._join(workspace.session_id, calls)
        async with aclosing(self._memory.results(calls, joined)) as results:
            async for result in results:
                yield result

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        """See Hands.cancel."""
        self._memory.cancel((session_id, call_id) for call_id, host in calls.items() if host == self.incarnation)

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """End the session's shell; with *destroy* its files go too."""
        await self._memory.end(session_id)
        session = self._sessions.get(session_id)
        if session is not None:
            session.restart()
            session.notices = [notice_block(IDLE)]
        if destroy:
            self._sessions.pop(session_id, None)
            self._memory.forget(session_id)

    def files(self, session_id: str) -> MemoryFiles:
        """Return a session's files, to look at or to prepare."""
        return self._session(session_id).files

    def _session(self, session_id: str) -> _MemorySession:
        if session_id not in self._sessions:
            self._sessions[session_id] = _MemorySession(self._clock, self._bash_timeout)
        return self._sessions[session_id]

    def _join(self, session_id: str, calls: Sequence[ToolCall]) -> list[RememberedCall[ToolResult]]:
        session = self._session(session_id)
        shells = [call for call in calls if call.name == "bash" and (session_id, call.call_id) not in self._memory]
        in_order = len(shells) < 2 or any(call.input.get("restart") for call in shells)
        beside = None if in_order else _Beside(session.shell, [call.call_id for call in shells])
        return [
            self._memory.join((session_id, call.call_id), partial(self._start, session, call, beside)) for call in calls
        ]

    def _start(self, session: _MemorySession, call: ToolCall, beside: _Beside | None) -> asyncio.Task[ToolResult]:
        task = asyncio.create_task(self._run(session, call, beside))
        if beside is not None:
            task.add_done_callback(lambda _: beside.leave(call.call_id))
        return task

    async def _run(self, session: _MemorySession, call: ToolCall, beside: _Beside | None) -> ToolResult:
        began = self._clock.monotonic()
        failed = True
        try:
            content = await session.tool(call, parse_input(call.name, call.input), beside)
            failed = False
        except ToolFailure as failure:
            content = text_block(str(failure))
        session.notices, content = [], session.notices + content
        seconds = self._clock.monotonic() - began
        return ToolResult(call.call_id, content, failed, seconds, host=self.incarnation)


class _Beside:
    """Bash calls of one batch in copies of the shell; what they change comes back in call order."""

    def __init__(self, shell: MemoryShell, call_ids: list[str]) -> None:
        self._shell = shell
        self._base = shell.fork()
        self.copies = {call_id: shell.fork() for call_id in call_ids}
        self._left = set(call_ids)

    def leave(self, call_id: str) -> None:
        """Count one call out; the last one merges."""
        if call_id in self._left:
            self._left.remove(call_id)
            if not self._left:
                for copy in self.copies.values():
                    self._shell.merge(self._base, copy)


class _MemorySession:
    """One session's files and shell."""

    def __init__(self, clock: Clock, bash_timeout: float) -> None:
        self.files = MemoryFiles()
        self._clock = clock
        self._bash_timeout = bash_timeout
        self._lock = asyncio.Lock()
        self.notices: list[dict[str, Any]] = []
        self.restart()

    def restart(self) -> None:
        self.shell = MemoryShell(self.files, self._clock.sleep)
        self._ended = False

    async def tool(self, call: ToolCall, request: ToolInput, beside: _Beside | None) -> list[dict[str, Any]]:
        """Run one tool; raises ToolFailure."""
        match request:
            case BashInput():
                shell = beside.copies[call.call_id] if beside else self.shell
                return text_block(await self._bash(shell, request, call.deadline))
            case ReadInput():
                return self._read(request)
            case WriteInput():
                data = request.content.encode(errors="replace")
                self.files.write(self._path(request.file_path), data)
                return text_block(f"wrote {len(data)} bytes to {request.file_path}")
            case EditInput():
                return text_block(self._edit(request))
            case GlobInput():
                return text_block(self._glob(request))
            case GrepInput():
                return text_block(self._grep(request))

    async def _bash(self, shell: MemoryShell, request: BashInput, deadline: float) -> str:
        limit = request.timeout_ms / 1000 if request.timeout_ms else self._bash_timeout
        if shell is not self.shell:
            return await self._limited(shell, request.command or "", limit, deadline)
        async with self._lock:
            if not request.restart:
                return await self._limited(self.shell, request.command or "", limit, deadline)
            self.restart()
            return "bash session restarted"

    async def _limited(self, shell: MemoryShell, command: str, limit: float, deadline: float) -> str:
        if self._ended:
            raise ToolFailure(RESTART_REQUIRED)
        alone = shell is self.shell
        run = asyncio.create_task(shell.run(command))
        alarm = asyncio.create_task(self._clock.sleep(min(limit, deadline)))
        try:
            await asyncio.wait({run, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                self._ended = alone
                reason = "the time limit of one call" if deadline < limit else "restart required (restart: true)"
                raise ToolFailure(f"bash: command timed out after {min(limit, deadline):g}s; {reason}")
            output, status = run.result()
        except ShellExit as leaving:
            self._ended = alone
            text = f"{leaving.output}bash: the shell exited with status {leaving.status}; restart required"
            raise ToolFailure(text) from leaving
        except asyncio.CancelledError:
            self._ended = alone
            raise
        finally:
            run.cancel()
            alarm.cancel()
        if status != 0:
            raise ToolFailure(output.rstrip("\n"))
        return output.rstrip("\n")

    def _path(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(_HOME, path))

    def _content(self, tool: str, path: str) -> bytes:
        try:
            return self.files.read(self._path(path))
        except OSError as error:
            raise file_failure(tool, path, error) from error

    def _read(self, request: ReadInput) -> list[dict[str, Any]]:
        data = self._content("read", request.file_path)
        kind = media_type(request.file_path)
        if kind is not None:
            return [media_block(kind, data)]
        if request.view_range:
            window = LineWindow(request.file_path, request.view_range[0], request.view_range[1])
            window.feed(data)
            return text_block(window.text())
        if len(data) > MAX_TEXT_BYTES:
            raise too_large("read", request.file_path, len(data), MAX_TEXT_BYTES)
        return text_block(decode_text("read", request.file_path, data))

    def _edit(self, request: EditInput) -> str:
        path = request.file_path
        text = decode_text("edit", path, self._content("edit", path))
        updated, count = replace_text(
            path, text, request.old_string, request.new_string, every=bool(request.replace_all)
        )
        self.files.write(self._path(path), updated.encode(errors="replace"))
        return f"edited {path} ({count} replacement{'' if count == 1 else 's'})"

    def _glob(self, request: GlobInput) -> str:
        pattern = GlobPattern(request.pattern)
        base = self._path(request.path or ".")
        hits: list[str] = []
        for path in self.files.below(base):
            state = pattern.start
            for part in posixpath.relpath(path, base).split("/"):
                state = pattern.enter(state, part)
            if pattern.matches(state):
                hits.append(path)
        return "\n".join(hits[:_MAX_RESULTS]) or "no matches"

    def _grep(self, request: GrepInput) -> str:
        try:
            expression = re.compile(request.pattern)
        except re.error as error:
            raise ToolFailure(f"grep: regex parse error: {error}") from error
        hits = [
            f"{path}:{number}:{line}"
            for path in sorted(self.files.below(self._path(request.path or ".")))
            for number, line in enumerate(self.files.read(path).decode(errors="replace").splitlines(), 1)
            if expression.search(line)
        ]
        return "\n".join(hits) or "no matches"
