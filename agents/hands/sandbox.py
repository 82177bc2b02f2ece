"""The port between the host of sandboxes and what isolates them.

A driver turns directories into a running sandbox: a persistent shell, and the files as that shell sees
them. Drivers: bubblewrap (the default), plain processes (explicit opt-in, no isolation), and none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agents.config import SandboxSettings
from agents.errors import HecatonError
from agents.hands.egress.gate import Gate
from agents.hands.file_root import FileRoot
from agents.hands.layer import Layer
from agents.hands.sandbox_dirs import SandboxDirs
from agents.hands.shell import Shell, ShellGone

_READY_SECONDS = 20.0
_EXIT_SECONDS = 10.0

HOW_TO_INSTALL = (
    "Tools are not available: bubblewrap, which isolates them, is missing or switched off on the server. "
    "Install it (`apt-get install bubblewrap`), or let tools run WITHOUT isolation "
    "by setting `sandbox.driver: process`."
)


class SandboxUnavailable(HecatonError):
    """No sandbox can be started; the message says why and what to do."""

    http_status = 503


@dataclass(slots=True)
class Sandbox:
    """A running sandbox. ``calls`` is the path of the calls directory as the shell sees it."""

    dirs: SandboxDirs
    shell: Shell
    files: FileRoot
    calls: str
    scratch: str
    """Where the temporary directory is, as the tools see it."""

    init_fd: int | None = None
    """The pidfd of the sandbox's first process: once that is gone, so is every other one."""
    network_fd: int | None = None
    """The network namespace that only this sandbox has; None: it has the host's."""
    layer: Layer | None = None
    gate: Gate | None = None
    """Its way out, once it is somebody's."""
    sweep: Callable[[], None] | None = None
    """Kills what the shell left behind, where no namespace does it."""

    _killed: bool = False

    @property
    def alive(self) -> bool:
        """Whether tools can still run in it."""
        return self.shell.alive and not self._killed

    def kill(self) -> None:
        """Kill everything inside, without waiting."""
        self._killed = True
        if self.gate is not None:
            self.gate.close()
        if self.init_fd is None:
            self.shell.process.kill()
            return
        # The first process inside dies before the one outside, which then reaps it: no zombie is left behind.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.init_fd, signal.SIGKILL)

    async def end(self) -> None:
        """Kill everything inside and wait for the end; the files stay. Raises TimeoutError."""
        self.kill()
        init, self.init_fd = self.init_fd, None
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                await self.shell.process.wait()
                if init is not None:
                    await _gone(init)
        finally:
            self.shell.process.kill()
            if init is not None:
                os.close(init)
        if self.sweep is not None:
            self.sweep()
        if self.network_fd is not None:
            os.close(self.network_fd)
        self.files.close()


async def _gone(pidfd: int) -> None:
    """Wait until the process behind *pidfd* has ended; at once when its parent has already taken note."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, lambda: gone.done() or gone.set_result(None))
    try:
        await gone
    finally:
        loop.remove_reader(pidfd)


class SandboxDriver(Protocol):
    """Something that starts sandboxes."""

    warmable: bool
    """Whether a running sandbox survives the rename of its directories, so that it can be started ahead."""

    def check(self) -> list[str]:
        """Return what keeps this driver from working on this machine, in words for a person; empty when fine."""
        ...

    async def start(self, dirs: SandboxDirs, layer: Layer | None = None) -> Sandbox:
        """Start a sandbox on *dirs*, with the packages of *layer*; raises SandboxUnavailable."""
        ...


async def await_ready(shell: Shell, settings: SandboxSettings, *, directory: str | None = None) -> None:
    """Boot the shell (in *directory*) and wait until it is ready; on failure it is ended.

    Raises SandboxUnavailable.
    """
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await shell.boot(settings, directory)
    except ShellGone as gone:
        raise SandboxUnavailable(f"the sandbox did not start: {gone.said or gone}") from gone
    except TimeoutError as error:
        await _abandon(shell)
        raise SandboxUnavailable(f"the sandbox was not ready within {_READY_SECONDS:g} s") from error
    except asyncio.CancelledError:
        await _abandon(shell)
        raise


async def _abandon(shell: Shell) -> None:
    """End a shell that is still starting, and wait until it has ended."""
    shell.process.abort()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_SECONDS):
            await shell.process.wait()


class NoDriver:
    """Refuses every sandbox and says what to do (``sandbox.driver: none``)."""

    warmable = False

    def check(self) -> list[str]:
        return [HOW_TO_INSTALL]

    async def start(self, dirs: SandboxDirs, layer: Layer | None = None) -> Sandbox:
        """Always raises SandboxUnavailable."""
        raise SandboxUnavailable(HOW_TO_INSTALL)
