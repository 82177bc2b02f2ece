"""Uploaded files in sandboxes: read-only below ``/mnt/session/uploads``.

    <session>/uploads/...        what the sandbox sees, by a read-only mount of the whole directory
    <session>/uploads.json       which content each of them is, noted as it arrives

Both belong to the server, so that a running sandbox sees what is added without another mount, and can change nothing.
Invariant: a file appears there whole, by a rename; what ``uploads.json`` does not have is fetched (again). Files that
take longer than one call has arrive over several.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from agents.files.blobs import Blob, Blobs
from agents.hands.checkpoint_store import StoreUnavailable
from agents.hands.mounts import MountReport
from agents.hands.notices import not_there
from agents.hands.port import Mount
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import UPLOADS, SandboxDirs
from agents.hands.threads import to_its_end

log = logging.getLogger(__name__)

INSIDE = "/mnt/session/uploads"
_KNOWN = "uploads.json"
_FETCHED = "uploads.part"


class UploadMounts:
    """The MountMaker of files."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def make(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> MountReport | None:
        """See MountMaker.make."""
        wanted = {posixpath.relpath(mount.path, INSIDE): Blob(mount.source, int(mount.name)) for mount in mounts}
        missing = await to_its_end(asyncio.to_thread(_without_others, dirs.base, wanted))
        gone: list[str] = []
        for path in missing:
            try:
                await self._blobs.copy_to(wanted[path], dirs.base / _FETCHED)
            except FileNotFoundError:
                # It has expired, or was deleted: for good, and no reason to have no sandbox.
                log.warning("the bytes of upload %s of %s are gone", path, session_id)
                gone.append(path)
                continue
            except StoreUnavailable as error:
                raise SandboxUnavailable(f"the session's uploaded files cannot be fetched: {error.message}") from error
            await to_its_end(asyncio.to_thread(_show, dirs.base, path, wanted[path]))
        return MountReport(notes=(not_there(gone),)) if gone else None


def _without_others(base: Path, wanted: Mapping[str, Blob]) -> list[str]:
    """Remove what is not wanted any more; returns what is wanted and not there."""
    root, known = base / UPLOADS, _known(base)
    if not wanted and not known:
        return []
    there = {path for path in _files(root) if path in wanted and known.get(path) == wanted[path].sha256}
    for path in _files(root):
        if path not in there:
            os.unlink(root / path)
            _remove_empty(root, (root / path).parent)
    if known.keys() != there:
        _write(base, {path: wanted[path].sha256 for path in there})
    return [path for path in wanted if path not in there]


def _show(base: Path, path: str, blob: Blob) -> None:
    """Let what was fetched appear as *path*, and note it."""
    root = base / UPLOADS
    target = root / path
    for parent in reversed(target.relative_to(root).parents):
        with contextlib.suppress(FileExistsError):
            (root / parent).mkdir(mode=0o755)
            (root / parent).chmod(0o755)  # whatever the server's umask is
    (base / _FETCHED).chmod(0o444)
    (base / _FETCHED).rename(target)
    _write(base, {**_known(base), path: blob.sha256})


def _known(base: Path) -> dict[str, str]:
    try:
        found: Any = orjson.loads((base / _KNOWN).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return found


def _write(base: Path, known: Mapping[str, str]) -> None:
    scratch = base / f"{_KNOWN}.new"
    scratch.write_bytes(orjson.dumps(known))
    scratch.rename(base / _KNOWN)


def _files(root: Path) -> list[str]:
    """Return all files below *root*, by their paths from there."""
    found: list[str] = []
    for folder, _, names in os.walk(root):
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return found


def _remove_empty(root: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent
