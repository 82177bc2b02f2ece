"""A listening socket inside a sandbox's own network namespace, held by the host.

A socket belongs for good to the namespace in which it was made. So the host makes one there, on the loopback address
that only that sandbox has, and accepts on it like on any other: no process inside passes connections on, and there is
no path that another sandbox could find. The namespace itself stays as empty as it was.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

PROXY_ADDRESS = ("127.0.0.1", 3128)
_CLONE_NEWNET = 0x40000000
_BACKLOG = 64
_HELPER = Path(__file__).with_name("listener_helper.py")
_HELPER_SECONDS = 10.0

_libc = ctypes.CDLL(None, use_errno=True)


async def listen_inside(namespace: int) -> socket.socket:
    """Return a socket that listens on PROXY_ADDRESS in the network behind *namespace*; raises OSError."""
    try:
        return _by_thread(namespace)
    except PermissionError:
        # An ordinary user may enter only what he owns, and only by a process that has but one thread.
        return await asyncio.to_thread(_by_helper, namespace)


def _by_thread(namespace: int) -> socket.socket:
    """Make it by a thread that enters the namespace and never comes back: it ends there."""
    made: list[socket.socket] = []
    faults: list[OSError] = []

    def enter() -> None:
        if _libc.setns(namespace, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            faults.append(OSError(code, os.strerror(code)))
            return
        try:
            made.append(socket.create_server(PROXY_ADDRESS, backlog=_BACKLOG))
        except OSError as error:
            faults.append(error)

    thread = threading.Thread(target=enter, name="egress-listener")
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return made[0]


def _by_helper(namespace: int) -> socket.socket:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(_HELPER_SECONDS)
        host, port = PROXY_ADDRESS
        argv = [sys.executable, "-I", "-S", str(_HELPER), str(namespace), str(theirs.fileno()), host, str(port)]
        done = subprocess.run(
            argv,
            pass_fds=(namespace, theirs.fileno()),
            env={},
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise PermissionError(f"entering the sandbox's network: {done.stderr.decode(errors='replace')[-200:]}")
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=fds[0])
