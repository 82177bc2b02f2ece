"""Installing the packages of one environment, in a sandbox that is there for nothing else.

Packages run code when they are installed: so it happens with the isolation, the limits and the way out of any other
sandbox, without a session's files and secrets. Invariant: a build that fails or is cancelled leaves nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.clock import Clock
from agents.errors import HecatonError
from agents.hands.admission import Admission
from agents.hands.child_process import run_program
from agents.hands.disk_quota import DiskQuota
from agents.hands.layer import Layer
from agents.hands.packages.apt_files import copy_apt_files
from agents.hands.packages.recipes import MANAGERS, Recipe, recipe, variables
from agents.hands.packages.settings import PackageSettings
from agents.hands.port import Workspace
from agents.hands.sandbox import Sandbox, SandboxDriver, SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs, SandboxRoot
from agents.hands.shell import ShellGone
from agents.hands.shell_calls import CommandStopped, watch
from agents.hands.threads import to_its_end
from agents.hands.tool_output import CallFile, clean

_SHOWN_CHARS = 2000
_TIDY_SECONDS = 300.0
_MISSING = 127


class BuildFailed(HecatonError):
    """The packages cannot be installed; the message says which manager says what."""

    http_status = 503


def build_networking(environment: Mapping[str, Any], registries: Sequence[str]) -> Mapping[str, Any]:
    """Return what the build for *environment* may reach: as its sessions, and the registries.

    Without named *registries* a ``limited`` environment's build reaches every public host: which hosts a manager needs
    is known to the manager alone, and a build has no session's files or secrets that it could carry out.
    """
    networking: Mapping[str, Any] = environment.get("networking") or {}
    if networking.get("type") != "limited":
        return networking
    if not registries:
        return {"type": "unrestricted"}
    return {**networking, "allow_package_managers": True, "allow_mcp_servers": False}


class LayerBuilder:
    """Makes the trees that layers are."""

    def __init__(
        self,
        settings: PackageSettings,
        root: SandboxRoot,
        driver: SandboxDriver,
        admission: Admission,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._root = root
        self._driver = driver
        self._admission = admission
        self._clock = clock

    async def build(self, environment: Mapping[str, Any], target: Path) -> None:
        """Install the packages of *environment* and put the tree to *target*. Raises BuildFailed, OSError."""
        packages: Mapping[str, Sequence[str]] = environment["packages"]
        dirs = self._root.make_warm()
        try:
            tree = await to_its_end(asyncio.to_thread(_prepare, dirs, "apt" in packages and bool(packages["apt"])))
            layer = Layer("", tree, variables(packages), writable=True)
            sandbox = await self._started(dirs, layer, environment)
            try:
                quota = DiskQuota(dirs, self._settings.max_bytes, self._clock, fresh=True)
                ends = self._clock.monotonic() + self._settings.build_seconds
                for manager in MANAGERS:
                    if packages.get(manager):
                        index = self._settings.indexes.get(manager)
                        await self._install(sandbox, recipe(manager, packages[manager], index), quota, ends)
            finally:
                await sandbox.end()
            await _tidy(tree)
            tree.rename(target)
        finally:
            self._root.discard(dirs.base)

    async def _started(self, dirs: SandboxDirs, layer: Layer, environment: Mapping[str, Any]) -> Sandbox:
        networking = build_networking(environment, self._admission.registries)
        try:
            sandbox = await self._driver.start(dirs, layer)
            try:
                await self._admission.admit(sandbox, Workspace("packages", {"networking": networking}))
            except BaseException:
                await sandbox.end()
                raise
        except SandboxUnavailable as error:
            raise BuildFailed(error.message) from error
        return sandbox

    async def _install(self, sandbox: Sandbox, part: Recipe, quota: DiskQuota, ends: float) -> None:
        output = CallFile.create(sandbox.dirs, sandbox.calls, part.manager)
        try:
            command = f"command -v {part.program} >/dev/null || exit {_MISSING}\numask 022\nset -e\n{part.script}"
            seconds = max(0.0, ends - self._clock.monotonic())
            status = await watch(sandbox.shell.run(f"(\n{command}\n)", output.shell_path), seconds, quota)
            if status == _MISSING and not output.read(1):
                raise BuildFailed(
                    f"the packages of {part.manager} cannot be installed: the program {part.program} is not"
                    " installed on this server"
                )
            if status != 0:
                raise BuildFailed(f"installing the packages of {part.manager} failed:\n{_end_of(output)}")
        except CommandStopped as stopped:
            raise BuildFailed(f"installing the packages of {part.manager} was stopped: {stopped}") from stopped
        except ShellGone as gone:
            raise BuildFailed(f"installing the packages of {part.manager} broke off:\n{_end_of(output)}") from gone
        finally:
            output.close()


def _end_of(output: CallFile) -> str:
    size = os.fstat(output.fd).st_size
    return clean(os.pread(output.fd, 4 * _SHOWN_CHARS, max(0, size - 4 * _SHOWN_CHARS)))[-_SHOWN_CHARS:]


def _prepare(dirs: SandboxDirs, apt: bool) -> Path:
    """Make the directory that packages are installed into, and what apt needs; both are the sandbox user's."""
    tree = dirs.base / "layer"
    tree.mkdir(mode=0o755)
    owned = [tree]
    if apt:
        files = dirs.of("workspace") / "apt"
        copy_apt_files(files)
        owned += [files, *files.rglob("*")]
    if dirs.uid is not None:
        for path in owned:
            os.chown(path, dirs.uid, dirs.uid, follow_symlinks=False)
    return tree


async def _tidy(tree: Path) -> None:
    """Make the tree readable for every sandbox's user, and nobody's to change; no program in it changes its user."""
    if os.geteuid() == 0:
        await _run("chown", "-R", "-h", "0:0", str(tree))
    await _run("chmod", "-R", "u+rwX,go+rX,go-w,a-s", str(tree))


async def _run(*argv: str) -> None:
    status, output = await run_program(list(argv), seconds=_TIDY_SECONDS)
    if status != 0:
        raise BuildFailed(f"the installed packages cannot be kept: {output.strip()[-_SHOWN_CHARS:]}")
