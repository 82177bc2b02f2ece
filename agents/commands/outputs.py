"""Bringing a sandbox's results out.

What lies in the outputs folder was made by a program nobody vouches for: links are never followed,
only regular files are copied, and no more than a bounded amount.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_BYTES = 256 * 1024**2
MAX_FILES = 1000
_CHUNK = 1024 * 1024


def collect_outputs(source: Path, target: Path) -> list[Path]:
    """Copy the regular files below *source* to *target* and return the copies, sorted."""
    copies: list[Path] = []
    room = MAX_BYTES
    for folder, names, files in os.walk(source, followlinks=False):
        names[:] = sorted(name for name in names if not (Path(folder) / name).is_symlink())
        for name in sorted(files):
            if len(copies) >= MAX_FILES:
                return sorted(copies)
            copy = target / Path(folder).relative_to(source) / name
            size = _copy(Path(folder) / name, copy, room)
            if size is not None:
                room -= size
                copies.append(copy)
    return sorted(copies)


def _copy(file: Path, copy: Path, room: int) -> int | None:
    """Copy one file and return its size, or None when it is no regular file or does not fit into *room*."""
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as reader:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > room:
            return None
        copy.parent.mkdir(parents=True, exist_ok=True)
        copied = 0
        with copy.open("wb") as writer:
            while copied < status.st_size and (chunk := reader.read(min(_CHUNK, status.st_size - copied))):
                writer.write(chunk)
                copied += len(chunk)
        return copied
