"""Skills in sandboxes: directories below ``/workspace/skills``, as the vendor's workers have them.

They are plain files of the server's in the session's workspace, where its owner may look at them and not write; a
checkpoint may bring them back, and they are not fetched again. The workspace is its session's to change, so whatever
stands in a skill's way stays, and no link of it is followed: the session has to do without that skill then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from agents.errors import HecatonError, NotFound
from agents.hands.port import Mount
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs
from agents.hands.threads import to_its_end
from agents.skills.records import ArchiveSource
from agents.skills.unpacking import unpack
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder

log = logging.getLogger(__name__)

_FOLDER = "skills"
_UNPACKED = "skill.part"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class SkillMounts:
    """The MountMaker of skills."""

    def __init__(self, archives: ArchiveSource, recorder: Recorder) -> None:
        self._archives = archives
        self._recorder = recorder

    async def make(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> None:
        """See MountMaker.make; skills of a session stay what they are, so that none is ever taken away."""
        for mount in mounts:
            if not await to_its_end(asyncio.to_thread(_is_there, dirs, _name(mount))):
                try:
                    self._recorder.count(catalogue.SKILL_COPIES, await self._add(session_id, dirs, mount))
                except SandboxUnavailable:
                    self._recorder.count(catalogue.SKILL_COPIES, "failed")
                    raise

    async def _add(self, session_id: str, dirs: SandboxDirs, mount: Mount) -> str:
        """Returns the outcome."""
        skill_id, _, version_id = mount.source.partition("/")
        try:
            archive = await self._archives.get(skill_id, version_id, int(mount.name))
            await to_its_end(asyncio.to_thread(_put, archive, dirs, _name(mount)))
        except NotFound:
            # It was deleted: for good, and no reason to have no sandbox.
            log.warning("skill %s of %s is gone", mount.source, session_id)
            return "gone"
        except (NotADirectoryError, FileExistsError) as error:
            log.warning("skill %s of %s has something in its way: %s", mount.source, session_id, error.strerror)
            return "blocked"
        except (ValueError, zipfile.BadZipFile) as error:
            log.error("the archive of skill %s cannot be unpacked: %s", mount.source, error)
            return "damaged"
        except HecatonError as error:
            raise SandboxUnavailable(f"the session's skills cannot be fetched: {error.message}") from error
        return "ok"


def _name(mount: Mount) -> str:
    return mount.path.rpartition("/")[2]


def _is_there(dirs: SandboxDirs, name: str) -> bool:
    return os.path.lexists(dirs.of("workspace") / _FOLDER / name)


def _put(archive: bytes, dirs: SandboxDirs, name: str) -> None:
    scratch = dirs.base / _UNPACKED
    _remove(scratch)
    unpack(archive, scratch)
    workspace = os.open(dirs.of("workspace"), _DIRECTORY)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(_FOLDER, 0o755, dir_fd=workspace)
        folder = os.open(_FOLDER, _DIRECTORY, dir_fd=workspace)
        try:
            _publish(scratch, folder, name)
        finally:
            os.close(folder)
    finally:
        os.close(workspace)
        _remove(scratch)


def _publish(scratch: Path, folder: int, name: str) -> None:
    try:
        os.rename(scratch, name, dst_dir_fd=folder)
    except OSError as error:
        # A directory that is not empty has one of two numbers, by the file system.
        raise FileExistsError(error.errno, error.strerror) from error


def _remove(scratch: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(scratch)
