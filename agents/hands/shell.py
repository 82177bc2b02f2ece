"""The persistent bash of one sandbox: commands in, exit statuses out, as futures.

Invariant: a future of this class always ends. When the shell's process ends, every waiting future gets
:class:`ShellGone`; garbage on the shell's output (whatever a command managed to write there) is ignored.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence

from agents.config import SandboxSettings
from agents.hands import shell_script
from agents.hands.child_process import ChildProcess

_MAX_LINE = 64 * 1024


class ShellGone(Exception):
    """The shell ended; ``code`` is its exit status and ``said`` what it printed before it was ready."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"the shell ended with status {code}")
        self.code = code
        self.said = said


class Shell:
    """A bash process that was started with *argv* and speaks the protocol of ``shell_script``."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None = None, inherited: Sequence[int] = ()
    ) -> None:
        """Start the process, which gets the descriptors *inherited*; raises OSError."""
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._line = bytearray()
        self._said = bytearray()
        self.process = ChildProcess(
            argv, env=env, cwd=cwd, inherited=inherited, on_output=self._heard, on_exit=self._ended
        )

    @property
    def alive(self) -> bool:
        return self.process.alive

    def boot(self, settings: SandboxSettings, directory: str | None) -> asyncio.Future[int]:
        """Set the limits, go to *directory*; the future ends when the shell is ready."""
        nonce, future = self._expect()
        self._send(shell_script.boot_line(settings, nonce, directory))
        return future

    def define(self, variables: Mapping[str, str]) -> asyncio.Future[int]:
        """Set environment variables for all that runs in the shell from now on."""
        nonce, future = self._expect()
        self._send(shell_script.define_line(variables, nonce))
        return future

    def run(self, command: str, output: str) -> asyncio.Future[int]:
        """Run *command* in the shell itself; the future is its exit status."""
        nonce, future = self._expect()
        self._send(shell_script.foreground_line(command, output, nonce))
        return future

    def fork(self, command: str, output: str, state: str | None) -> tuple[asyncio.Future[int], asyncio.Future[int]]:
        """Run *command* in a forked copy; returns the futures of its exit status and of its process group."""
        nonce, future = self._expect()
        pid_nonce, group = self._expect()
        self._send(shell_script.forked_line(command, output, state, nonce, pid_nonce))
        return future, group

    def dump(self, state: str) -> asyncio.Future[int]:
        """Write the shell's state to the file *state*."""
        nonce, future = self._expect()
        self._send(shell_script.dump_line(state, nonce))
        return future

    def merge(self, base: shell_script.ShellState, after: list[shell_script.ShellState]) -> asyncio.Future[int] | None:
        """Bring the changes of forked calls into the shell; None when there are none."""
        nonce, future = self._expect()
        line = shell_script.merge_line(base, after, nonce)
        if line is None:
            del self._waiting[nonce]
            return None
        self._send(line)
        return future

    def kill_group(self, group: int) -> None:
        """Kill a forked call."""
        self._send(shell_script.kill_line(group))

    def _expect(self) -> tuple[str, asyncio.Future[int]]:
        nonce = secrets.token_hex(16)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.alive:
            self._waiting[nonce] = future
        else:
            self._fail(future, self.process.exited.result())
        return nonce, future

    def _send(self, line: str) -> None:
        self.process.write(line.encode(errors="surrogateescape"))

    def _heard(self, chunk: bytes) -> None:
        if len(self._said) < _MAX_LINE:
            self._said += chunk
        self._line += chunk
        *lines, rest = self._line.split(b"\n")
        self._line = bytearray(rest[-_MAX_LINE:])
        for line in lines:
            self._understand(line.decode(errors="replace"))

    def _understand(self, line: str) -> None:
        nonce, _, value = line.partition(" ")
        future = self._waiting.get(nonce)
        if future is None or not value.isdecimal():
            return
        del self._waiting[nonce]
        if not future.done():
            future.set_result(int(value))

    def _ended(self, code: int) -> None:
        for future in self._waiting.values():
            self._fail(future, code)
        self._waiting.clear()

    def _fail(self, future: asyncio.Future[int], code: int) -> None:
        if not future.done():
            future.set_exception(ShellGone(code, self._said[:4096].decode(errors="replace").strip()))
            future.exception()  # a future nobody waits for any more must not complain
