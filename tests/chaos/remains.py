"""What is left behind: processes, mounts, directories, copies of workspaces.

Looked at twice: while the platform lives and its sessions are deleted (nothing of them may stay), and after
everything was shut down (nothing at all may stay). The runner adopts orphans, so whatever outlives its own
parent is found below the runner.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from agents.hands.leftovers import find_leftovers
from tests.chaos.record import Violation

_LOOK_SECONDS = 0.5


def settled(look: Callable[[], list[Violation]], within: float) -> list[Violation]:
    """Look until nothing is found or time is up; returns what was found last."""
    end = time.monotonic() + within
    while True:
        found = look()
        if not found or time.monotonic() > end:
            return found
        time.sleep(_LOOK_SECONDS)


def of_deleted_sessions(data_dir: Path) -> list[Violation]:
    """Return what is left of sessions, all of which were deleted, while the platform lives."""
    left = [f"{leftover.kind} {leftover.what}" for leftover in find_leftovers(data_dir / "sandboxes", sessions=())]
    left += [f"copy {path}" for path in _copies(data_dir / "checkpoints")]
    return [Violation("remains", "deleted sessions", what) for what in left]


def _copies(store: Path) -> Iterable[Path]:
    """The sessions' checkpoint files below *store*, which may go while this looks at them.

    Its marks of deleted sessions (``.deleted``) are none.
    """
    for folder, _, files in os.walk(store):
        parts = Path(folder).relative_to(store).parts
        if ".deleted" not in parts and any(part.startswith("sesn_") for part in parts):
            yield from (Path(folder, name) for name in files)


def after_shutdown(data_dir: Path) -> list[Violation]:
    """Return processes, mounts and the platform's own state that outlived it."""
    left = [f"{leftover.kind} {leftover.what}" for leftover in find_leftovers(data_dir / "sandboxes")]
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                left.append(f"process {process.pid} {' '.join(process.cmdline())[:160] or process.name()}")
        except psutil.NoSuchProcess:
            continue
    left += [f"mount {line.split()[4]}" for line in _mounts(data_dir)]
    if (data_dir / "run" / "platform.json").exists():
        left.append("state run/platform.json")
    return [Violation("remains", "after the end", what) for what in left]


def _mounts(data_dir: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if f" {data_dir}/" in line]
