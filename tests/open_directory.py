"""A directory that the users of sandboxes may pass through: pytest's own are closed to all but who runs the tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_directory(prefix: str) -> Iterator[Path]:
    """Make one below ``/tmp``, where paths are short, and remove it with all that is in it."""
    base = Path(tempfile.mkdtemp(dir="/tmp", prefix=prefix))
    try:
        base.chmod(0o711)
        yield base
    finally:
        # A sandbox that is being killed may still write there.
        shutil.rmtree(base, ignore_errors=True)
