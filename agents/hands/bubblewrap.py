"""Sandboxes by bubblewrap: namespaces of their own, a read-only system, private directories, no secrets, few sockets.

Invariants: nothing of the server's environment or open descriptors gets in; a server that runs as root
starts each sandbox as an unprivileged user of its own (limits on processes do not hold for root); when
the server's process ends in any way, so does everything inside (``--die-with-parent``, a pid namespace).
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack

from agents.config import SandboxSettings
from agents.hands.egress.gate import PROXY_URL
from agents.hands.file_root import FileRoot
from agents.hands.layer import PACKAGES, Layer
from agents.hands.linux_calls import missing_support, spawning_as
from agents.hands.sandbox import HOW_TO_INSTALL, Sandbox, SandboxUnavailable, await_ready
from agents.hands.sandbox_dirs import CALLS, MEMORY, UPLOADS, SandboxDirs, missing_programs
from agents.hands.shell import Shell
from agents.hands.socket_filter import opened_filter
from agents.hands.system_root import SYSTEM_LINKS

WORKSPACE = "/workspace"
_CALLS_INSIDE = "/run/calls"
_UPLOADS_INSIDE = "/mnt/session/uploads"
_MOUNTS = {
    "workspace": WORKSPACE,
    "home": "/home/agent",
    "tmp": "/tmp",  # noqa: S108
    "outputs": "/mnt/session/outputs",
    "shm": "/dev/shm",  # noqa: S108
    CALLS: _CALLS_INSIDE,
    MEMORY: "/mnt/memory",
}
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/home/agent",
    "USER": "agent",
    "LOGNAME": "agent",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    # Its network has nothing but the proxy; programs disagree about which spelling of these they read.
    **{name: PROXY_URL for word in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (word, word.lower())},
    **{name: "localhost,127.0.0.1,::1" for name in ("NO_PROXY", "no_proxy")},
    "NODE_USE_ENV_PROXY": "1",
}
_SHELL = ("/bin/bash", "--noprofile", "--norc")
_NICE = 5
_NAMESPACES = ("user", "pid", "ipc", "uts", "cgroup", "net")


class BubblewrapDriver:
    """Starts one ``bwrap`` process per sandbox with the persistent bash as its child."""

    warmable = True

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._system = _system_mounts()
        self._program: str | None = None

    def check(self) -> list[str]:
        """Return what is missing on this machine, in words for a person."""
        problems: list[str] = []
        if shutil.which("bwrap") is None:
            problems.append(HOW_TO_INSTALL)
        if shutil.which("rg") is None:
            problems.append("ripgrep is missing; the grep tool needs it (`apt-get install ripgrep`)")
        if reason := missing_support():
            problems.append(reason)
        if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
            problems.append("the kernel lacks /proc/<pid>/task/<tid>/children (CONFIG_PROC_CHILDREN)")
        problems += [f"the program {name} is missing" for name in missing_programs()]
        return problems

    async def start(self, dirs: SandboxDirs, layer: Layer | None = None) -> Sandbox:
        """Start a sandbox on *dirs*, with the packages of *layer*; raises SandboxUnavailable."""
        self._program = self._program or shutil.which("bwrap")
        if self._program is None:
            raise SandboxUnavailable(HOW_TO_INSTALL)
        try:
            with opened_filter() as sockets, spawning_as(dirs.uid):
                options = [*self._options(dirs, layer), "--seccomp", str(sockets), *_SHELL]
                shell = Shell([self._program, *options], env={}, inherited=[sockets])
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox did not start: {error.strerror}") from error
        await await_ready(shell, self._settings)
        with ExitStack() as undo:
            undo.callback(shell.process.kill)
            try:
                init, bash = _inner_pids(shell.process.pid)
                init_fd = os.pidfd_open(init)
                undo.callback(os.close, init_fd)
                root = os.open(f"/proc/{bash}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, root)
                network = os.open(f"/proc/{bash}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, network)
                files = FileRoot(root, WORKSPACE, dirs.uid)
                # Tool work gives way to the server on a busy machine; less nice than itself only root may make it.
                os.setpriority(os.PRIO_PROCESS, bash, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
            except (OSError, IndexError) as error:
                raise SandboxUnavailable(f"the sandbox ended while it started: {error}") from error
            undo.pop_all()
        return Sandbox(
            dirs,
            shell,
            files,
            calls=_CALLS_INSIDE,
            scratch=_MOUNTS["tmp"],
            init_fd=init_fd,
            network_fd=network,
            layer=layer,
        )

    def _options(self, dirs: SandboxDirs, layer: Layer | None) -> list[str]:
        options = [f"--unshare-{name}" for name in _NAMESPACES]
        options += ["--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--disable-userns"]
        options += ["--die-with-parent", "--new-session", "--clearenv"]
        for name, value in _environment(layer).items():
            options += ["--setenv", name, value]
        # The tree of the system has every mount point: bwrap makes nothing below it, for it is read-only from here.
        options += ["--ro-bind", str(dirs.system), "/", *self._system, "--proc", "/proc", "--dev", "/dev"]
        if layer is not None:
            options += ["--bind" if layer.writable else "--ro-bind", str(layer.path), PACKAGES]
        base = str(dirs.base)
        for name, inside in _MOUNTS.items():
            options += ["--bind", f"{base}/{name}", inside]
        options += ["--ro-bind", f"{base}/{UPLOADS}", _UPLOADS_INSIDE]
        # The tmpfs under /dev would otherwise be memory that no limit counts.
        options += ["--remount-ro", "/dev", "--chdir", WORKSPACE]
        return options


def _environment(layer: Layer | None) -> dict[str, str]:
    if layer is None:
        return _ENVIRONMENT
    more = dict(layer.variables)
    path = [more["PATH"]] if "PATH" in more else []
    return {**_ENVIRONMENT, **more, "PATH": ":".join([*path, _ENVIRONMENT["PATH"]])}


def _system_mounts() -> list[str]:
    """Return the options for the programs and libraries of this machine."""
    whole = ["usr", *(name for name in SYSTEM_LINKS if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"))]
    return [word for name in whole for word in ("--ro-bind", f"/{name}", f"/{name}")]


def _inner_pids(outer: int) -> tuple[int, int]:
    """Return the pids of the sandbox's init, a child of the outer bwrap, and of bash, a child of that."""
    init = _first_child(outer)
    return init, _first_child(init)


def _first_child(pid: int) -> int:
    fd = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 64).split()[0])
    finally:
        os.close(fd)
