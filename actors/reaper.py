"""A process that outlives nothing: it waits for its parent to die and kills what the parent left.

Every process of an instance carries ``HECATON_INSTANCE`` in its environment. The reaper is connected
to the platform process by a pipe; when that closes, the platform is gone, cleanly or not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_GRACE_SECONDS = 2.0
_ROUNDS = 50
_PAUSE_SECONDS = 0.1


def start_reaper(instance: str) -> subprocess.Popen[bytes]:
    """Start the reaper of *instance*; it ends by itself after this process."""
    return subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, instance],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env={"PATH": os.environ.get("PATH", "")},
    )


def members(instance: str) -> list[int]:
    """Return the processes that carry the instance's mark."""
    mark = f"HECATON_INSTANCE={instance}".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # A process may end while it is looked at, or belong to somebody else.
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def reap(instance: str) -> None:
    """Kill every member until none is left, within bounds."""
    end = time.monotonic() + _GRACE_SECONDS
    while members(instance) and time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)
    for _ in range(_ROUNDS):
        left = members(instance)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.read()
    reap(sys.argv[1])
