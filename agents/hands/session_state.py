"""What a host notes beside a session's files, in the server's own part of its directory.

It says which version of the files lies here, so that a host can tell its files from older ones without asking
anybody. Invariant: it is replaced as a whole; one that cannot be read counts as none. It is not forced to the
disk: after the machine itself has gone down, ``boot`` no longer fits and the files are not trusted either.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, fields
from typing import Any

import orjson

_FILE = "state"
_NEW = "state.new"


@dataclass(slots=True)
class SessionState:
    """One session's files on this host."""

    version: int = 0
    stored: int = 0
    """The newest version that went to the store, as far as that has been noted."""
    origin: str = ""
    """Names this very directory, for figures that are true for no other."""
    holder: str = ""
    """Incarnation of the host that last ran a sandbox on it."""
    boot: str = ""
    away: bool = False
    """Whether that host has put the sandbox away in good order."""
    notice: str = ""
    """What the model must still be told, should this host not come to it."""


def boot_id() -> str:
    """Return what the kernel calls the time since it started."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def read_state(base: str) -> SessionState | None:
    """Return what is noted beside the session directory *base*; None when there is nothing, or nothing sound."""
    try:
        with open(f"{base}/{_FILE}", "rb") as file:
            raw: Any = orjson.loads(file.read(65536))
        state = SessionState(**raw)
    except (OSError, TypeError, ValueError):
        return None
    sound = all(type(getattr(state, field.name)) is type(field.default) for field in fields(state))
    return state if sound else None


def write_state(base: str, state: SessionState) -> None:
    """Note *state*; does nothing when the directory is gone. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(f"{base}/{_NEW}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, orjson.dumps(state))
        finally:
            os.close(fd)
        os.rename(f"{base}/{_NEW}", f"{base}/{_FILE}")
