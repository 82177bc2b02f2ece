"""Seeing that no process of a platform outlives it.

A platform is three processes deep. The outer one is what its user started, signals, and may kill; below it is a
guard, and below that the platform itself with everything that it starts. The outer two adopt orphans (they are child
subreapers, prctl(2)), so whatever loses its parent stays below them. When the platform or the outer process ends, the
guard kills what is left below it until there is nothing; when the guard is killed, the outer process does so. Nobody
keeps a list of processes, which could lack the one that was started last. (A mark in the environment would not do
either: several of Ray's processes overwrite theirs with a title.)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PARENT_DIED = signal.SIGUSR1
_HEARD = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, _PARENT_DIED}
_BY_SIGNAL = 128
_ROUNDS = 100
_PAUSE_SECONDS = 0.05


def go_on_guarded() -> int:
    """Go on in a process that nothing it starts outlives; returns there only, with the pid that stands for it all.

    That is the calling process's own. It passes SIGINT and SIGTERM on, and ends last, with the status of the one that
    went on (or 128 and its signal). To be called while there is one thread. Raises OSError when the kernel refuses.
    """
    outer = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    _go_on_in_child(_PARENT_DIED)
    _go_on_in_child(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return outer


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent dies. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_descendants() -> None:
    """Kill everything below this process until nothing is left, within bounds, and collect what it adopted."""
    for _ in range(_ROUNDS):
        targets = [each for each in psutil.Process().children(recursive=True) if _lives(each)]
        for each in targets:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not targets:
            return
        time.sleep(_PAUSE_SECONDS)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _go_on_in_child(parents_death: signal.Signals) -> None:
    """Return in a child only, which is sent *parents_death* when this process dies; this process keeps it."""
    parent = os.getpid()
    adopt_orphans()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        status = 1
        try:
            status = _keep(child)
        finally:
            os._exit(status)
    _prctl(_PR_SET_PDEATHSIG, parents_death)
    if os.getppid() != parent:  # it died before it could be told
        os._exit(_BY_SIGNAL + signal.SIGKILL)


def _keep(child: int) -> int:
    """Pass signals on to *child* until it or the parent ends, then end all below; returns the exit status."""
    status: int | None = None
    while status is None:
        number = signal.sigwait(_HEARD)
        if number == _PARENT_DIED:
            break
        if number == signal.SIGCHLD:
            status = _collected(child)
        else:
            os.kill(child, number)
    end_descendants()
    return _BY_SIGNAL + signal.SIGKILL if status is None else status


def _collected(child: int) -> int | None:
    """Let go of whoever has ended; returns the status of *child* if it is among them."""
    status: int | None = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                status = code if code >= 0 else _BY_SIGNAL - code
    return status


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
