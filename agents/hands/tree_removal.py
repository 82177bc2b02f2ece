"""Removing what a sandbox leaves on disk.

Most sessions leave a handful of files, for which starting ``rm`` costs more than the work: a small tree goes
in a worker thread, a large or deep one, or one that resists, by ``rm``, which knows neither limit. Invariant: no
symbolic link is ever followed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from pathlib import Path

from agents.hands.child_process import run_program

log = logging.getLogger(__name__)

_SMALL_ENTRIES = 200
_SMALL_DEPTH = 20
_REMOVE_SECONDS = 120.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _TooLarge(Exception):
    """The tree is one for ``rm``."""


async def remove_tree(path: Path) -> None:
    """Delete a tree, however deep or large; does nothing when it is gone. What stays is logged."""
    if await asyncio.to_thread(_removed_here, path):
        return
    status, _ = await run_program(["rm", "-rf", "--", str(path)], seconds=_REMOVE_SECONDS)
    if status != 0:  # a directory that its owner closed against himself
        await run_program(["chmod", "-R", "u+rwx", "--", str(path)], seconds=_REMOVE_SECONDS)
        status, output = await run_program(["rm", "-rf", "--", str(path)], seconds=_REMOVE_SECONDS)
        if status != 0:
            log.warning("could not remove %s: %s", path, output.strip()[:500])


def _removed_here(path: Path) -> bool:
    """Remove a small tree; False when it is not one, or when something in it cannot be removed."""
    try:
        _remove(None, str(path), _SMALL_ENTRIES, _SMALL_DEPTH)
    except (OSError, _TooLarge):
        return False
    return True


def _remove(parent: int | None, name: str, allowed: int, depth: int) -> int:
    """Remove a directory and return how many more entries may be removed."""
    if depth == 0:
        raise _TooLarge
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        with os.scandir(fd) as found:
            entries = list(itertools.islice(found, allowed + 1))
        allowed -= len(entries)
        if allowed < 0:
            raise _TooLarge
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                allowed = _remove(fd, entry.name, allowed, depth - 1)
            else:
                os.unlink(entry.name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)
    return allowed
