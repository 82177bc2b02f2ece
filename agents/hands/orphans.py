"""Processes that a killed host of sandboxes left.

Sandboxes die with their host, but not always: bwrap asks to die with its parent only some instants after its
fork, so that a host killed in exactly that window leaves a process that waits for a dead parent for ever; and
without isolation a daemon simply stays. The next host on the same root looks for such processes. Invariant:
what descends from a living host is never touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from agents.hands.host_lock import living_hosts
from agents.hands.leftovers import lost_processes


def kill_orphans(root: Path) -> int:
    """Kill the processes of sandboxes below *root* whose host is dead; returns how many.

    For a host that has its place below *root* and has not started anything yet.
    """
    hosts = list(living_hosts(root).values())
    if os.getpid() in hosts:
        hosts.remove(os.getpid())  # once: the caller's own place
    found = lost_processes(root, hosts)
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return len(found)
