"""Tools as plain processes, WITHOUT isolation: for machines without bubblewrap, by explicit opt-in only.

What remains: a directory per session, an environment without the server's secrets, resource limits, and,
when root runs the server, an unprivileged user per session. What is missing: everything else. A tool can
read what that user can read, use the network, and outlive a careless clean-up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
from pathlib import Path

from agents.config import SandboxSettings
from agents.hands.file_root import FileRoot
from agents.hands.layer import Layer
from agents.hands.leftovers import MARK
from agents.hands.linux_calls import missing_support
from agents.hands.sandbox import Sandbox, SandboxUnavailable, await_ready
from agents.hands.sandbox_dirs import CALLS, SandboxDirs, missing_programs
from agents.hands.shell import Shell

log = logging.getLogger(__name__)

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ALIASES = {
    "/workspace": "workspace",
    "/home/agent": "home",
    "/tmp": "tmp",  # noqa: S108
    "/mnt/session/outputs": "outputs",
    "/mnt/session/uploads": "uploads",
    "/mnt/memory": "memory",
}


class PlainProcessDriver:
    """Starts one bash per sandbox, in the session's own directory."""

    warmable = False

    def __init__(self, settings: SandboxSettings) -> None:
        # For an ordinary user the kernel counts all of his processes, not the sandbox's.
        self._settings = settings if os.geteuid() == 0 else settings.model_copy(update={"processes": 2**20})
        log.warning("sandbox.driver is `process`: tools run WITHOUT isolation, with network and the host's files")

    def check(self) -> list[str]:
        """Return what is missing on this machine, in words for a person."""
        problems = [f"the program {name} is missing" for name in missing_programs()]
        problems += [f"the program {name} is missing" for name in ("bash", "setpriv", "rg") if not shutil.which(name)]
        if reason := missing_support():
            problems.append(reason)
        return problems

    async def start(self, dirs: SandboxDirs, layer: Layer | None = None) -> Sandbox:
        """Start a shell on *dirs*; raises SandboxUnavailable."""
        if layer is not None:
            raise SandboxUnavailable("packages need isolation, which `sandbox.driver: process` has not")
        user = str(dirs.uid)
        drop = ["--reuid", user, "--regid", user, "--clear-groups"] if dirs.uid is not None else []
        argv = ["setpriv", *drop, "--pdeathsig", "KILL", "--", "/bin/bash", "--noprofile", "--norc"]
        try:
            shell = Shell(argv, env=self._environment(dirs), cwd="/")
        except OSError as error:
            raise SandboxUnavailable(f"the shell did not start: {error.strerror}") from error
        await await_ready(shell, self._settings, directory=str(dirs.of("workspace")))
        base = str(dirs.base)
        files = FileRoot(
            os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC),
            home=f"{base}/workspace",
            uid=dirs.uid,
            outside=base,
            aliases={alias: f"{base}/{name}" for alias, name in _ALIASES.items()},
        )
        return Sandbox(
            dirs,
            shell,
            files,
            calls=f"{base}/{CALLS}",
            scratch=str(dirs.of("tmp")),
            sweep=lambda: _sweep(shell.process.pid, base),
        )

    def _environment(self, dirs: SandboxDirs) -> dict[str, str]:
        return {
            "PATH": _PATH,
            "HOME": str(dirs.of("home")),
            "TMPDIR": str(dirs.of("tmp")),
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            MARK: str(dirs.base),
        }


def _sweep(group: int, base: str) -> None:
    """Kill the shell's process group and every process that still carries the sandbox's mark."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    mark = f"{MARK}={base}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
