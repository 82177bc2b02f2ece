"""The parent of an inference server, which sees that nothing of it outlives the replica.

    keeper.py STOP_SECONDS PROGRAM ARGUMENT...

Inference servers start processes of their own that hold the GPU, and those do not all end with their parent. The
keeper adopts every descendant (it is a child subreaper, prctl(2)) and kills what is left when the server ends, and
everything when its own standard input ends, which happens however the replica dies. On that input ``stop`` asks for a
soft end (SIGTERM to the server, SIGKILL to all after STOP_SECONDS), ``kill`` for an end at once. When the keeper
itself is killed, the server dies with it. It exits with the server's status, or 128 and the signal.

Run by its path and with nothing but the standard library, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_NOT_STARTED = 127
_BY_SIGNAL = 128
_STDIN, _STDERR = 0, 2
STOP, KILL = b"stop\n", b"kill\n"


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _ignore(_number: int, _frame: FrameType | None) -> None:
    return


def _wake_on_signals() -> int:
    """Return a descriptor that becomes readable when a signal arrives; none of them ends the keeper."""
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # Handlers, for what is ignored stays ignored in the server.
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ignore)
    return woken


def _spawn(argv: list[str]) -> int:
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(_NOT_STARTED)
        os.dup2(os.open(os.devnull, os.O_RDONLY), _STDIN)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
            signal.signal(number, signal.SIG_DFL)
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        os.write(_STDERR, f"{argv[0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _collect(server: int, flags: int) -> int | None:
    """Let children go that have ended; returns the server's wait status when it was among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.waitpid(-1, flags)
            if pid == server:
                status = ended
            if pid == 0 or flags == 0:
                break
    return status


def _children() -> set[int]:
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it may end while it is looked at
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == os.getpid():
                    found.add(int(entry.name))
    return found


def _end_all(server: int) -> int | None:
    """Kill every descendant: those of whoever dies become this process's own children."""
    status = None
    while children := _children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended = _collect(server, 0)
        status = ended if status is None else status
    return status


def _keep(server: int, woken: int, stop_seconds: float) -> int | None:
    """Return the server's wait status once it has ended, None when everything is to be killed."""
    deadline: float | None = None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([_STDIN, woken], [], [], left)
        if woken in ready:
            os.read(woken, 4096)
        status = _collect(server, os.WNOHANG)
        if status is not None or not ready:
            return status
        if _STDIN in ready:
            order = os.read(_STDIN, 4096)
            if not order or KILL in order:
                return None
            if deadline is None:
                deadline = time.monotonic() + stop_seconds
                os.kill(server, signal.SIGTERM)


def main() -> int:
    stop_seconds, argv = float(sys.argv[1]), sys.argv[2:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    woken = _wake_on_signals()
    server = _spawn(argv)
    status = _keep(server, woken, stop_seconds)
    last = _end_all(server)
    status = last if status is None else status
    code = _NOT_STARTED if status is None else os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _BY_SIGNAL - code


if __name__ == "__main__":
    sys.exit(main())
