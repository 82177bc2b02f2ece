"""Repositories in sandboxes: a copy below ``/workspace``, made outside and given to the sandbox's user.

A copy is its session's from then on: checkpoints have it, and nothing is fetched again while something is at its
place. Beside the session's directories a mark says that a copy was made, and another that its skills were told of: what
memory had of that may be lost. What stands in its way stays, and no link of the session's is followed. A repository
that cannot be had is told of, and tried again later; the session goes on without.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import posixpath
import secrets
import shutil
import time
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from agents.errors import HecatonError, NotFound
from agents.hands.mounts import MountReport
from agents.hands.port import Mount
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs
from agents.hands.threads import to_its_end
from agents.repositories.cloning import Cloner
from agents.repositories.failures import RepositoryFailed
from agents.repositories.skills import FoundSkill, skills_in
from agents.repositories.source import WORKSPACE, RepositorySource
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder

log = logging.getLogger(__name__)

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TOGETHER, _OF_ONE_SESSION = 8, 4
"""Copies that one host makes at a time: more would only share its disk and network, and one session's are half of them
at most, so that another's first call need not wait for all of its own."""
_COPIED, _TOLD = "copied", "told"
_IN_THE_WAY = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM})
"""What the workspace's user can bring about there, and must not end the session's calls by."""


class RepositoryAccess(Protocol):
    """Where a host learns what it copies; neither URL nor token travels with a call."""

    async def repository(self, session_id: str, resource_id: str) -> tuple[RepositorySource, SecretStr | None]:
        """Return a repository of a session, and its token if it has one.

        Raises NotFound, Unavailable; RepositoryFailed when the token cannot be opened.
        """
        ...


class RepositoryMounts:
    """The MountMaker of repositories."""

    def __init__(self, access: RepositoryAccess, cloner: Cloner, recorder: Recorder) -> None:
        self._access = access
        self._cloner = cloner
        self._recorder = recorder
        self._together = asyncio.Semaphore(_TOGETHER)

    async def make(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> MountReport | None:
        """See MountMaker.make; repositories stay with their session, so that none is ever taken away."""
        if not mounts:
            return None
        missing = await to_its_end(asyncio.to_thread(_missing, dirs, mounts))
        mine = asyncio.Semaphore(_OF_ONE_SESSION)
        adding = (self._add(session_id, dirs, each, mine) for each in missing)
        tried = await asyncio.gather(*adding, return_exceptions=True)
        made: list[MountReport] = []
        for each in tried:
            if isinstance(each, BaseException):
                raise each
            made.append(each)
        untold = await to_its_end(asyncio.to_thread(_untold, dirs, mounts))
        report = MountReport.of([*made, *untold])
        return report if report.problems or report.notes else None

    async def _add(self, session_id: str, dirs: SandboxDirs, mount: Mount, mine: asyncio.Semaphore) -> MountReport:
        began = time.monotonic()
        try:
            async with mine, self._together:
                await self._copy(session_id, dirs, mount)
        except RepositoryFailed as failed:
            log.warning("a repository of %s: %s", session_id, failed.message)
            self._recorder.observe(catalogue.REPOSITORY_SECONDS, time.monotonic() - began, failed.reason)
            why = escape(failed.message, quote=False)  # a server elsewhere may have written it
            note = f"The repository that belongs at {mount.path} could not be copied: {why}."
            return MountReport((failed.problem(),), (note,))
        self._recorder.observe(catalogue.REPOSITORY_SECONDS, time.monotonic() - began, "ok")
        return MountReport()

    async def _copy(self, session_id: str, dirs: SandboxDirs, mount: Mount) -> None:
        try:
            source, token = await self._access.repository(session_id, mount.source)
        except NotFound:
            return  # with its session, while the call was on its way
        except HecatonError as error:
            raise SandboxUnavailable(f"the session's repositories cannot be looked up: {error.message}") from error
        if await to_its_end(asyncio.to_thread(_is_taken, dirs, mount)):
            raise RepositoryFailed("clone", source.url, f"something else is at {mount.path}")
        await to_its_end(asyncio.to_thread(_remove_old, dirs.base, mount.source))
        # Nobody had this name before: whatever still writes to another does not come into this copy.
        scratch = dirs.base / f"{mount.source}.{secrets.token_hex(4)}.part"
        try:
            await self._cloner.clone(source, token, scratch)
            await to_its_end(asyncio.to_thread(_show, scratch, dirs, mount))
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            raise RepositoryFailed("clone", source.url, f"something else is at {mount.path}") from error
        finally:
            await to_its_end(asyncio.to_thread(_remove, scratch))


def _below(mount: Mount) -> str:
    return posixpath.relpath(mount.path, WORKSPACE)


def _missing(dirs: SandboxDirs, mounts: Sequence[Mount]) -> list[Mount]:
    return [mount for mount in mounts if not _is_had(dirs, mount)]


def _is_had(dirs: SandboxDirs, mount: Mount) -> bool:
    if os.path.lexists(dirs.of("workspace") / _below(mount) / ".git"):
        return True
    # Whose it is by now may have removed that, and kept the files.
    return _mark(dirs, mount, _COPIED).exists() and _is_taken(dirs, mount)


def _mark(dirs: SandboxDirs, mount: Mount, what: str) -> Path:
    return dirs.base / f"{mount.source}.{what}"


def _untold(dirs: SandboxDirs, mounts: Sequence[Mount]) -> list[MountReport]:
    reports: list[MountReport] = []
    for mount in mounts:
        mark = _mark(dirs, mount, _TOLD)
        if not mark.exists() and _is_had(dirs, mount):
            found = skills_in(dirs.of("workspace"), _below(mount).split("/"))
            if found:
                reports.append(MountReport(notes=(_note(mount, found),), told=(partial(_put, mark),)))
    return reports


def _put(mark: Path) -> None:
    try:
        mark.touch()
    except OSError as error:
        log.warning("%s cannot be made: %s", mark, error.strerror)


def _is_taken(dirs: SandboxDirs, mount: Mount) -> bool:
    try:
        return bool(os.listdir(dirs.of("workspace") / _below(mount)))
    except FileNotFoundError:
        return False
    except OSError:  # no directory, or one that the session has shut
        return True


def _show(scratch: Path, dirs: SandboxDirs, mount: Mount) -> None:
    """Give a copy to the sandbox's user and let it appear at its place."""
    uid = dirs.uid
    if uid is not None:
        _give(scratch, uid)
    *parents, name = _below(mount).split("/")
    folder = os.open(dirs.of("workspace"), _DIRECTORY)
    try:
        for parent in parents:
            inner = _entered(folder, parent, uid)
            os.close(folder)
            folder = inner
        os.rename(scratch, name, dst_dir_fd=folder)
    finally:
        os.close(folder)
    _put(_mark(dirs, mount, _COPIED))


def _entered(folder: int, name: str, uid: int | None) -> int:
    """Open a directory in *folder*, made when it is not there."""
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return os.open(name, _DIRECTORY, dir_fd=folder)
    inner = os.open(name, _DIRECTORY, dir_fd=folder)
    if uid is not None:
        os.fchown(inner, uid, uid)
    return inner


def _give(tree: Path, uid: int) -> None:
    os.chown(tree, uid, uid)
    for folder, directories, files in os.walk(tree):
        for name in (*directories, *files):
            os.chown(os.path.join(folder, name), uid, uid, follow_symlinks=False)


def _remove_old(base: Path, source: str) -> None:
    for scratch in base.glob(f"{source}.*.part"):
        _remove(scratch)


def _remove(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    if os.path.lexists(scratch):
        log.warning("%s is left for the next copy to remove", scratch)


def _note(mount: Mount, found: Sequence[FoundSkill]) -> str:
    entries = "".join(
        f"\n- {escape(each.name, quote=False)} ({mount.path}/{each.path}): {escape(each.description, quote=False)}"
        for each in found
    )
    return (
        f"The repository at {mount.path} brings skills: instructions for particular kinds of tasks. When a task is of "
        f"a skill's kind, read its file first, and follow it.{entries}"
    )
