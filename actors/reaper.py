"""Seeing that no process of a platform outlives it.

The platform process adopts orphans (it is a child subreaper, prctl(2)), so everything it started
stays its descendant, and at the end it kills what is left. Against its own SIGKILL there is a reaper:
a tiny process on the other end of a pipe that remembers the descendants and kills them once the pipe
closes. Processes are named by pid and start time, so a reused pid is never hit. (A mark in the
environment would not do: several of Ray's processes overwrite theirs with a title.)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 3.0
_FIRST_LOOKS = 60
_FIRST_LOOK_SECONDS = 0.5
_ROUNDS = 50
_PAUSE_SECONDS = 0.1

Processes = dict[int, str]
"""Start times (field 22 of /proc/PID/stat) by pid."""


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent dies."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def start_reaper() -> subprocess.Popen[bytes]:
    """Start the reaper of this process; it ends by itself after it."""
    return subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, str(os.getpid())],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env={"PATH": os.environ.get("PATH", "")},
    )


def _table() -> dict[int, tuple[int, str, str]]:
    """Return parent, state and start time of every process."""
    table: dict[int, tuple[int, str, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # A process may end while it is looked at.
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                table[int(entry.name)] = (int(fields[1]), fields[0], fields[19])
    return table


def descendants(roots: set[int]) -> Processes:
    """Return the living processes below *roots* (not *roots* themselves), zombies excepted."""
    table = _table()
    found: Processes = {}
    for pid, (parent, state, started) in table.items():
        chain = parent
        while chain in table and chain not in roots:
            chain = table[chain][0]
        if chain in roots and state != "Z":
            found[pid] = started
    return found


def _living(known: Processes) -> set[int]:
    table = _table()
    return {
        pid
        for pid, started in known.items()
        if pid in table and table[pid][1:] != ("Z", started) and table[pid][2] == started
    }


def end_all(known: Processes, *, spare: set[int]) -> None:
    """Kill *known* and everything below them until nothing is left, within bounds; never *spare*."""
    for _ in range(_ROUNDS):
        living = _living(known)
        known = known | descendants(living)
        targets = _living(known) - spare
        if not targets:
            return
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


def end_descendants(*, spare: set[int]) -> None:
    """Kill what is left below this process and collect what it adopted."""
    end_all(descendants({os.getpid()}), spare=spare)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def children() -> set[int]:
    """Return this process's own children, zombies included."""
    return {pid for pid, (parent, _, _) in _table().items() if parent == os.getpid()}


def collect_adopted(own: set[int]) -> None:
    """Let adopted processes that have ended go, else they stay as zombies. Those of *own* are for who started them."""
    for pid, (parent, state, _) in _table().items():
        if parent == os.getpid() and state == "Z" and pid not in own:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _watch(parent: int) -> None:
    # Often while the platform starts and forks its daemons, rarely once it stands.
    known: Processes = {}
    looks = 0
    while not select.select([sys.stdin], [], [], _FIRST_LOOK_SECONDS if looks < _FIRST_LOOKS else _LOOK_SECONDS)[0]:
        known = descendants({parent})
        looks += 1
    end_all(known, spare={os.getpid()})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _watch(int(sys.argv[1]))
