"""Sandboxes by bubblewrap: namespaces of their own, a read-only system, private directories, no secrets.

Invariants: nothing of the server's environment or open descriptors gets in; a server that runs as root
starts each sandbox as an unprivileged user of its own (limits on processes do not hold for root); when
the server's process ends in any way, so does everything inside (``--die-with-parent``, a pid namespace).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from agents.config import SandboxSettings
from agents.hands.file_root import FileRoot
from agents.hands.linux_calls import missing_support
from agents.hands.sandbox import HOW_TO_INSTALL, Sandbox, SandboxUnavailable, await_ready, wants_network
from agents.hands.sandbox_dirs import CALLS, SandboxDirs, missing_programs
from agents.hands.shell import Shell

WORKSPACE = "/workspace"
_CALLS_INSIDE = "/run/calls"
_MOUNTS = {
    "workspace": WORKSPACE,
    "home": "/home/agent",
    "tmp": "/tmp",  # noqa: S108
    "outputs": "/mnt/session/outputs",
    "shm": "/dev/shm",  # noqa: S108
    CALLS: _CALLS_INSIDE,
}
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/home/agent",
    "USER": "agent",
    "LOGNAME": "agent",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What programs need of /etc; nothing that names the host's users, hosts or keys.
_ETC = ("ld.so.cache", "alternatives", "localtime", "ssl/certs", "ca-certificates", "fonts", "mime.types")
_ETC_NETWORK = ("resolv.conf", "services", "protocols")
_NICE = 5
_NAMESPACES = ("user", "pid", "ipc", "uts", "cgroup")


class BubblewrapDriver:
    """Starts one ``bwrap`` process per sandbox with the persistent bash as its child."""

    warmable = True

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings

    def check(self) -> list[str]:
        """Return what is missing on this machine, in words for a person."""
        problems: list[str] = []
        if shutil.which("bwrap") is None:
            problems.append(HOW_TO_INSTALL)
        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            problems.append("setpriv (package util-linux) is missing; a server run by root needs it to drop root")
        if shutil.which("rg") is None:
            problems.append("ripgrep is missing; the grep tool needs it (`apt-get install ripgrep`)")
        if reason := missing_support():
            problems.append(reason)
        if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
            problems.append("the kernel lacks /proc/<pid>/task/<tid>/children (CONFIG_PROC_CHILDREN)")
        problems += [f"the program {name} is missing" for name in missing_programs()]
        return problems

    def network(self, environment: dict[str, Any]) -> bool:
        return wants_network(environment)

    async def start(self, dirs: SandboxDirs, *, network: bool) -> Sandbox:
        """Start a sandbox on *dirs*; raises SandboxUnavailable."""
        if shutil.which("bwrap") is None:
            raise SandboxUnavailable(HOW_TO_INSTALL)
        try:
            shell = Shell(self._argv(dirs, network), env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox did not start: {error.strerror}") from error
        await await_ready(shell, self._settings)
        try:
            init, bash = _inner_pids(shell.process.pid)
            root = os.open(f"/proc/{bash}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            init_fd = os.pidfd_open(init)
        except (OSError, IndexError) as error:
            shell.process.kill()
            raise SandboxUnavailable(f"the sandbox ended while it started: {error}") from error
        files = FileRoot(root, WORKSPACE, dirs.uid)
        # Tool work gives way to the server on a busy machine.
        os.setpriority(os.PRIO_PROCESS, bash, _NICE)
        return Sandbox(dirs, shell, files, calls=_CALLS_INSIDE, scratch=_MOUNTS["tmp"], init_fd=init_fd)

    def _argv(self, dirs: SandboxDirs, network: bool) -> list[str]:
        user = str(dirs.uid)
        drop = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"] if dirs.uid is not None else []
        argv = [*drop, "bwrap", *(f"--unshare-{name}" for name in _NAMESPACES)]
        argv += [] if network else ["--unshare-net"]
        argv += ["--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--disable-userns"]
        argv += ["--die-with-parent", "--new-session", "--clearenv"]
        for name, value in _ENVIRONMENT.items():
            argv += ["--setenv", name, value]
        argv += _system(network, dirs.etc)
        argv += ["--proc", "/proc", "--dev", "/dev", "--symlink", "/tmp", "/var/tmp"]  # noqa: S108
        for name, inside in _MOUNTS.items():
            argv += ["--bind", str(dirs.of(name)), inside]
        # The tmpfs under / and /dev would otherwise be memory that no limit counts.
        argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORKSPACE]
        return [*argv, "/bin/bash", "--noprofile", "--norc"]


def _system(network: bool, etc: Path) -> list[str]:
    """Return the options for the read-only system."""
    argv = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_LINKS:
        path = Path("/") / name
        if path.is_symlink():
            argv += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), str(path)]
    for name in ("passwd", "group"):
        argv += ["--ro-bind", str(etc / name), f"/etc/{name}"]
    argv += ["--ro-bind", "/etc/hosts" if network else str(etc / "hosts"), "/etc/hosts"]
    for name in (*_ETC, *(_ETC_NETWORK if network else ())):
        argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return argv


def _inner_pids(outer: int) -> tuple[int, int]:
    """Return the pids of the sandbox's init, a child of the outer bwrap, and of bash, a child of that."""
    init = int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])
    return init, int(Path(f"/proc/{init}/task/{init}/children").read_text().split()[0])
