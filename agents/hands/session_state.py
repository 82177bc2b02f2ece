"""What a host notes beside a session's files, in the server's own part of its directory.

It says which version of the files lies here, so that a host can tell its files from older ones without asking
anybody. It is one record of fixed size, overwritten in place (ext4 starts to write out a file that is renamed
over another, which would cost a call milliseconds). Invariant: one that is not whole counts as none. It is not
forced to the disk: after the machine itself went down ``boot`` no longer fits, and the files are not trusted either.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from dataclasses import dataclass, fields
from typing import Any

import orjson

_FILE = "state"
_SIZE = 4096
_TRIES = 3
"""A record that is being overwritten at this very moment is read again."""


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
    for _ in range(_TRIES):
        try:
            with open(f"{base}/{_FILE}", "rb", buffering=0) as file:
                state = _decoded(file.read(_SIZE))
        except FileNotFoundError:
            return None
        if state is not None:
            return state
    return None


def write_state(base: str, state: SessionState) -> None:
    """Note *state*; does nothing when the directory is gone. One thread at a time. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(f"{base}/{_FILE}", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, _encoded(state), 0)
        finally:
            os.close(fd)


def _encoded(state: SessionState) -> bytes:
    text = orjson.dumps(state).ljust(_SIZE - 4)
    return text + zlib.crc32(text).to_bytes(4, "big")


def _decoded(record: bytes) -> SessionState | None:
    text = record[:-4]
    if len(record) != _SIZE or zlib.crc32(text).to_bytes(4, "big") != record[-4:]:
        return None
    try:
        raw: Any = orjson.loads(text)
        state = SessionState(**raw)
    except (TypeError, ValueError):
        return None
    sound = all(type(getattr(state, field.name)) is type(field.default) for field in fields(state))
    return state if sound else None
