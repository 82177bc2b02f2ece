"""Where sandboxes live on disk: one private directory each, owned by that sandbox's own user.

    <root>/<session_id>/{workspace,home,tmp,outputs,shm,calls,uploads,memory}  a session's files
    <root>/.warm/<host>/<n>/...                                    ready or being made, not yet claimed
    <root>/.warm/<host>/system/...                                 what a host's sandboxes share, read-only inside
    <root>/.layers/<digest>                                        packages of environments, see ``packages.layers``
    <root>/.trash/<n>                                              being removed

Claiming a warm sandbox is one rename: bind mounts follow the inode, so a running sandbox does not notice.
Invariants: the directories above the private ones belong to the server and may only be traversed (0711);
``calls`` stays the server's, so that no tool can swap the output file of a call for a link or a FIFO.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from agents.hands.host_lock import STOCK, HostLock, take_dead
from agents.hands.stand_in import remove_empty, traversable_root
from agents.hands.system_root import make_system_root
from agents.hands.tree_removal import remove_tree

log = logging.getLogger(__name__)

PRIVATE = ("workspace", "home", "tmp", "outputs", "shm")
CALLS = "calls"
UPLOADS = "uploads"
"""What was uploaded for the session: the server writes it, and sandboxes only read it."""
MEMORY = "memory"
"""Its memory stores, a directory for each, which the server makes; sandboxes write below those that are theirs."""
TRASH = ".trash"
LAYERS = ".layers"
OWN_DIRS = frozenset({STOCK, TRASH, LAYERS})
FIRST_UID = 200_000
UID_COUNT = 60_000
_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class SandboxDirs:
    """The directories of one sandbox, the user that owns them (None: the server's own user), the shared system."""

    base: Path
    uid: int | None
    system: Path

    def of(self, name: str) -> Path:
        return self.base / name


class SandboxRoot:
    """All sandbox directories of one host. ``open`` must run before anything else."""

    def __init__(self, wanted: Path) -> None:
        self._wanted = wanted
        self.path = wanted
        self._lock: HostLock | None = None
        self._next_uid = secrets.randbelow(UID_COUNT)
        self._next_warm = 0
        self._removing: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Make the root usable by sandbox users and take this host's warm directory; raises OSError."""
        self.path = traversable_root(self._wanted.absolute())
        for name in sorted(OWN_DIRS):
            (self.path / name).mkdir(exist_ok=True)
            (self.path / name).chmod(0o711)
        self._lock = HostLock(self.path)
        make_system_root(self._system)

    async def close(self) -> None:
        """Remove this host's own directory with whatever is left in it."""
        if self._lock is not None and self._lock.held:
            await self.settle()
            await self.remove(self._own)
            self._lock.release()
            if self.path != self._wanted.absolute():
                remove_empty(self.path, OWN_DIRS)

    @property
    def layers(self) -> Path:
        """Where the packages of environments are."""
        return self.path / LAYERS

    @property
    def _own(self) -> Path:
        assert self._lock is not None, "open() has run"
        return self._lock.path

    @property
    def _system(self) -> Path:
        return self._own / "system"

    def session_path(self, session_id: str) -> Path:
        """Return where a session's files are; raises ValueError for an id that is no plain name."""
        if not _SESSION_ID.fullmatch(session_id):
            raise ValueError(f"session_id: {session_id[:80]!r} cannot name a directory")
        return self.path / session_id

    def make_warm(self) -> SandboxDirs:
        """Create the directories of a sandbox that nobody has claimed yet."""
        self._next_warm += 1
        return self._make(self._own / str(self._next_warm))

    def make(self, session_id: str) -> SandboxDirs:
        """Return a session's directories, made when missing; files of an earlier sandbox are kept."""
        return self._make(self.session_path(session_id))

    def claim(self, dirs: SandboxDirs, session_id: str) -> SandboxDirs:
        """Give warm *dirs* to a session that has no files yet; raises OSError when it has some."""
        target = self.session_path(session_id)
        dirs.base.rename(target)
        return replace(dirs, base=target)

    def replace(self, dirs: SandboxDirs, session_id: str) -> SandboxDirs:
        """Give *dirs* to a session in place of what it has."""
        self.discard(self.session_path(session_id))
        return self.claim(dirs, session_id)

    def owner_of(self, session_id: str) -> int | None:
        """Return the user that a session's files belong to (None: the server's own user)."""
        return self._owner_of(str(self.session_path(session_id)), is_new=False)

    def last_used(self, session_id: str) -> float:
        """Return when a session's sandbox was last started or put away here, in seconds since the epoch."""
        base = self.session_path(session_id)
        try:
            return max(base.stat().st_mtime, (base / "calls").stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def free_bytes(self) -> int:
        """Return the room that is left on the disk."""
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize

    def sessions(self) -> list[str]:
        """Return the sessions that have files here."""
        with os.scandir(self.path) as entries:
            return [entry.name for entry in entries if entry.is_dir() and _SESSION_ID.fullmatch(entry.name)]

    async def remove(self, base: Path) -> None:
        """Delete a sandbox's directories, however deep or many; does nothing when they are gone."""
        with contextlib.suppress(FileNotFoundError):
            await remove_tree(self._bury(base))

    def discard(self, base: Path) -> None:
        """Take a sandbox's directories away at once and delete them in the background."""
        with contextlib.suppress(FileNotFoundError):
            task = asyncio.create_task(remove_tree(self._bury(base)))
            self._removing.add(task)
            task.add_done_callback(self._removing.discard)

    async def settle(self) -> None:
        """Return when what was discarded is gone."""
        await asyncio.gather(*self._removing)

    async def reap(self) -> int:
        """Delete what dead hosts left behind and return how many trees that was."""
        leftovers = {*take_dead(self.path, self._bury), *(self.path / TRASH).iterdir()}
        for leftover in leftovers:
            await remove_tree(leftover)
        return len(leftovers)

    def _bury(self, base: Path) -> Path:
        """Move *base* out of sight at once and return where it is; raises FileNotFoundError when it is gone."""
        grave = self.path / TRASH / secrets.token_hex(8)
        base.rename(grave)
        return grave

    def _make(self, base: Path) -> SandboxDirs:
        # Plain strings: on every sandbox's way, and pathlib would cost as much as the directories themselves.
        text = str(base)
        is_new = _make_directory(text, 0o711)
        uid = self._owner_of(text, is_new=is_new)
        for name in PRIVATE:
            path = f"{text}/{name}"
            if _make_directory(path, 0o700) and uid is not None:
                os.chown(path, uid, uid)
        _make_directory(f"{text}/{CALLS}", 0o711)
        _make_directory(f"{text}/{UPLOADS}", 0o755)
        _make_directory(f"{text}/{MEMORY}", 0o755)
        return SandboxDirs(base, uid, self._system)

    def _owner_of(self, base: str, *, is_new: bool) -> int | None:
        if os.geteuid() != 0:
            return None
        if not is_new:
            with contextlib.suppress(FileNotFoundError):
                return os.stat(f"{base}/{PRIVATE[0]}").st_uid
        self._next_uid = (self._next_uid + 1) % UID_COUNT
        return FIRST_UID + self._next_uid


def _make_directory(path: str, mode: int) -> bool:
    """Make a directory; False when it was there."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return False
    return True


def missing_programs() -> list[str]:
    """Name the helper programs that are not installed."""
    return [name for name in ("rm", "du", "chmod") if shutil.which(name) is None]
