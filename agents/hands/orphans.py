"""Sandboxes that a killed host left half started.

bwrap asks to die with its parent only some instants after its fork. A host killed in exactly that window
leaves a process that waits for a dead parent for ever: it runs no tool, but it would never go. The next
host on the same root looks for such processes. Invariant: only a sandbox's first process whose parent is
not bwrap is killed; those of a living host always have a bwrap above them.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def kill_orphans(root: Path) -> int:
    """Kill the first processes of sandboxes below *root* that have lost their bwrap; returns how many."""
    found = [pid for pid in _processes() if _is_orphan(pid, f"{root}/".encode())]
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _is_orphan(pid: int, root: bytes) -> bool:
    try:
        if not _is_bwrap(command := _command(pid)) or root not in command:
            return False
        status = Path(f"/proc/{pid}/status").read_text()
        facts = {key: value.split() for key, _, value in (line.partition(":") for line in status.splitlines())}
        inside = len(facts["NSpid"]) > 1
        return inside and not _is_bwrap(_command(int(facts["PPid"][0])))
    except OSError:
        return False  # it has just ended


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _is_bwrap(command: bytes) -> bool:
    return command.partition(b"\0")[0].endswith(b"bwrap")
