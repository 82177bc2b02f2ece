"""A child process on the event loop: pipes by readiness, its end by pidfd, no thread per child.

``asyncio``'s own subprocess support starts a watcher thread or needs a global child handler; a host
that starts thousands of sandboxes wants neither. Invariant: the spawn happens on the loop's thread,
because PR_SET_PDEATHSIG ("die with the parent") fires when the spawning *thread* ends, and the loop's
thread lives as long as its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

_ABORT_SECONDS = 5.0
_REAP_SECONDS = 10.0
_READ_BYTES = 64 * 1024
_MAX_OUTPUT = 64 * 1024
_MAX_UNWRITTEN = 8 * 1024 * 1024


def _discard(_chunk: bytes) -> None:
    return


class ChildProcess:
    """One running child. Its output goes to *on_output* in pieces; ``exited`` holds its return code."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None = None,
        inherited: Sequence[int] = (),
        on_output: Callable[[bytes], None] = _discard,
        on_exit: Callable[[int], None] | None = None,
    ) -> None:
        """Start *argv* with exactly *env* and no descriptors but *inherited*; raises OSError when it cannot start."""
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._on_exit = on_exit
        self._unwritten = bytearray()
        self._input_closed = False
        self._popen = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=inherited,
            start_new_session=True,
        )
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._stdin = self._popen.stdin.fileno()
        self._stdout = self._popen.stdout.fileno()
        self.pid = self._popen.pid
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self.pid)
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)
        self._loop.add_reader(self._stdout, self._read)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def alive(self) -> bool:
        return not self.exited.done()

    def write(self, data: bytes) -> None:
        """Send *data* to the child's input, buffering what the pipe does not take; raises BufferError when it lags."""
        if not self.alive or self._input_closed:
            return
        if len(self._unwritten) + len(data) > _MAX_UNWRITTEN:
            raise BufferError("the child does not read its input")
        self._unwritten += data
        self._flush()

    def kill(self) -> None:
        """Send SIGKILL; does nothing once the child has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def abort(self) -> None:
        """End a child that is still starting: its input ends now, and it is killed if that does not end it.

        Killing bwrap at once could catch it between its fork and its promise to die together, and leave half of it.
        """
        if self.alive:
            self._unwritten.clear()
            self._close_input()
            self._loop.call_later(_ABORT_SECONDS, self.kill)

    async def wait(self) -> int:
        """Wait for the end and return the exit status (negative: the signal)."""
        return await asyncio.shield(self.exited)

    async def wait_or(self, stop: Callable[[], None]) -> int:
        """Wait as ``wait`` does; what nobody waits for any more is stopped. Raises TimeoutError if that lasts."""
        try:
            return await self.wait()
        finally:
            if self.alive:
                stop()
                async with asyncio.timeout(_REAP_SECONDS):
                    await self.wait()

    def _flush(self) -> None:
        try:
            while self._unwritten:
                sent = os.write(self._stdin, self._unwritten)
                del self._unwritten[:sent]
        except BlockingIOError:
            self._loop.add_writer(self._stdin, self._flush)
            return
        except BrokenPipeError:
            self._unwritten.clear()  # the exit is reported by the pidfd
        self._loop.remove_writer(self._stdin)

    def _close_input(self) -> None:
        if not self._input_closed:
            self._input_closed = True
            self._loop.remove_writer(self._stdin)
            assert self._popen.stdin is not None
            self._popen.stdin.close()

    def _read(self) -> None:
        try:
            chunk = os.read(self._stdout, _READ_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self._on_output(chunk)
        else:
            self._loop.remove_reader(self._stdout)

    def _reap(self) -> None:
        code = self._popen.wait()
        self._drain()
        self._loop.remove_reader(self._stdout)
        self._loop.remove_reader(self._pidfd)
        self._close_input()
        os.close(self._pidfd)
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        self.exited.set_result(code)
        if self._on_exit is not None:
            self._on_exit(code)

    def _drain(self) -> None:
        """Hand over what the child wrote before it ended; bounded, for a survivor may still write."""
        for _ in range(16):
            try:
                chunk = os.read(self._stdout, _READ_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                return
            self._on_output(chunk)


async def run_program(argv: Sequence[str], *, seconds: float) -> tuple[int, str]:
    """Run a short helper program and return its status and merged output; killed, it raises TimeoutError."""
    output = bytearray()

    def collect(chunk: bytes) -> None:
        if len(output) < _MAX_OUTPUT:
            output.extend(chunk)

    child = ChildProcess(argv, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}, on_output=collect)
    async with asyncio.timeout(seconds):
        status = await child.wait_or(child.kill)
    return status, output[:_MAX_OUTPUT].decode(errors="replace")
