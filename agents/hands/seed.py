"""Filling a new workspace with a copy of a folder (``sandbox.seed_dir``): how a demo's input gets in.

The copy never follows a link out of the folder, takes no devices or FIFOs, and stops at a size.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

_SKIPPED = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".hecaton", ".hypothesis", "demo-output"}
)


def _skipped(name: str) -> bool:
    return name in _SKIPPED or name.endswith((".egg-info", "_cache", ".pyc"))


def is_copied(path: Path, source: Path) -> bool:
    """Whether what lies at *path* would be copied from *source*."""
    return path.is_relative_to(source) and not any(_skipped(part) for part in path.relative_to(source).parts)


def seed_workspace(source: Path, workspace: Path, *, uid: int | None, max_bytes: int) -> int:
    """Copy *source* into *workspace* for *uid*, skipping caches and histories; returns the bytes copied.

    What is unreadable or does not fit in *max_bytes* is left out with a warning. Raises OSError.
    """
    copied = left_out = 0
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if not _skipped(name))
        target = workspace / Path(folder).relative_to(source)
        target.mkdir(exist_ok=True)
        _give(target, uid)
        for name in sorted(name for name in files if not _skipped(name)):
            origin = Path(folder) / name
            status = origin.lstat()
            if stat.S_ISREG(status.st_mode) and copied + status.st_size > max_bytes:
                left_out += 1
                continue
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                continue
            try:
                shutil.copy2(origin, target / name, follow_symlinks=False)
            except PermissionError:
                left_out += 1
                continue
            _give(target / name, uid)
            copied += status.st_size
    if left_out:
        logger.warning("%d files of %s were left out: unreadable, or beyond %d bytes", left_out, source, max_bytes)
    return copied


def _give(path: Path, uid: int | None) -> None:
    if uid is not None:
        os.chown(path, uid, uid, follow_symlinks=False)
