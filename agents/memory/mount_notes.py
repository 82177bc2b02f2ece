"""What a host notes beside the directories of a session's memory stores, in the server's own part of its directory.

    <session>/memory.json   what is known of each store's directory
    <session>/memory.owed   the mounts of which a result may have said that changes are kept later; gone when they are

Invariant: both belong to the very directory that was opened. Whoever still works on one that was taken away writes
nothing into the one in its place.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import orjson

from agents.hands.port import Mount
from agents.hands.sandbox_dirs import SandboxDirs
from agents.memory.mirror import Base

_STATE = "memory.json"
_OWED = "memory.owed"


@dataclass(slots=True)
class Known(Base):
    """What is known of one store's directory."""

    refused: dict[str, str] = field(default_factory=lambda: {})
    """What the model has been told of already."""
    gone: bool = False
    whole: bool = False
    """Whether a pass has ever come to its end."""


T = TypeVar("T", Known, Mount)


@dataclass(slots=True)
class Notes:
    """The notes in one session's directory. Methods block, and raise OSError."""

    dirs: SandboxDirs
    fd: int
    """Of ``dirs.base`` as it was when they were opened."""

    def known(self) -> dict[str, Known]:
        """Return what is known, by store."""
        found: dict[str, dict[str, Any]] = self._read(_STATE, {})
        return {store: _made(Known, known) for store, known in found.items()}

    def note_known(self, known: Mapping[str, Known]) -> None:
        self._write(_STATE, dict(known))

    def forget(self, store_id: str) -> None:
        """Know nothing of a store's directory any more."""
        known = self.known()
        if known.pop(store_id, None) is not None:
            self.note_known(known)

    def owed(self) -> list[Mount]:
        """Return the mounts of ``memory.owed``."""
        return [_made(Mount, each) for each in self._read(_OWED, [])]

    def note_owed(self, mounts: Sequence[Mount]) -> None:
        if mounts:
            self._write(_OWED, mounts)
        else:
            with suppress(FileNotFoundError):
                os.unlink(_OWED, dir_fd=self.fd)

    def _read(self, name: str, default: Any) -> Any:
        try:
            with open(name, "rb", opener=self._opener) as file:
                return orjson.loads(file.read())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return default

    def _write(self, name: str, content: Any) -> None:
        with open(f"{name}.new", "wb", opener=self._opener) as file:
            file.write(orjson.dumps(content))
        os.rename(f"{name}.new", name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def _opener(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.fd)


def _made(kind: type[T], noted: Mapping[str, Any]) -> T:
    """Make one of what is noted, without what only a later release knows."""
    return kind(**{each.name: noted[each.name] for each in fields(kind) if each.name in noted})


def owes(base: Path) -> bool:
    """Whether anything is owed to the sources of what is mounted from the session directory *base*."""
    return (base / _OWED).exists()


@contextmanager
def opened(dirs: SandboxDirs) -> Generator[Notes]:
    """Open the notes in a session's directory. Raises OSError."""
    fd = os.open(dirs.base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Notes(dirs, fd)
    finally:
        os.close(fd)
