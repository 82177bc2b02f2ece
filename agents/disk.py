"""What a file system promises only when it is asked: that names are on the disk, too."""

from __future__ import annotations

import os
from pathlib import Path


def sync_directory(folder: Path | str) -> None:
    """Bring the names in one directory to the disk: new, renamed and removed ones. Blocks; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
