"""Memory stores in sandboxes: directories below ``/mnt/memory``, kept the same as their stores pass by pass.

    <session>/memory/<slug>/...  what the sandbox sees; the session's own user owns those that he may write to
    <session>/memory.json        what directory and store both had after the last pass, so that another host's process
                                 tells a file that was deleted here from one that is new there (``mount_notes``)

A pass is made before a call and after one that may have changed files. Invariant: what a pass has not brought over
stays in the directory and is tried again; of a directory that has been taken away meanwhile nothing is believed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from agents.clock import Clock
from agents.errors import HecatonError, NotFound
from agents.hands.file_root import FileRoot
from agents.hands.kept_directory import KeptDirectory
from agents.hands.port import Mount
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import MEMORY, SandboxDirs
from agents.hands.store_directory import StoreDirectory
from agents.hands.threads import to_its_end
from agents.memory import mount_notes
from agents.memory.mirror import Directory, MemoryMirror, SyncPass
from agents.memory.mount_notes import Known, Notes
from agents.memory.records import Memories
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder

log = logging.getLogger(__name__)

OpenMemory = Callable[[str], Awaitable[Memories]]
"""Opens the stores for a session when they are needed: most hosts' processes never do. Raises Unavailable."""

_TOLD_AT_ONCE = 10
"""Paths that a model is told of after one pass; the others are counted."""
_PATH_CHARS = 200


class MemoryMounts:
    """MountMaker and MountSync of memory stores."""

    def __init__(self, memory: OpenMemory, clock: Clock, recorder: Recorder) -> None:
        self._memory = memory
        self._clock = clock
        self._recorder = recorder

    async def make(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> None:
        """See MountMaker.make; the stores of a session stay what they are, so that none is ever taken away."""
        del session_id
        if mounts:
            await to_its_end(asyncio.to_thread(_make, dirs, mounts))

    async def synchronize(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> list[str]:
        """See MountSync.synchronize."""
        told: list[str] = []
        if not mounts:
            return told
        with mount_notes.opened(dirs) as notes:
            known, owed = await to_its_end(asyncio.to_thread(lambda: (notes.known(), notes.owed())))
            late = [mount for mount in mounts if not mount.read_only]
            try:
                for mount in mounts:
                    lines, ended = await self._noted(session_id, notes, mount, known)
                    told += lines
                    if ended:
                        late = [each for each in late if each is not mount]
            finally:
                # Before anything was there, nothing can have been changed.
                late = [mount for mount in late if mount.source in known and known[mount.source].whole]
                if late or owed:
                    await to_its_end(asyncio.to_thread(notes.note_owed, late))
        return told

    def owes(self, base: Path) -> bool:
        """See MountSync.owes."""
        return mount_notes.owes(base)

    async def bring_owed(self, session_id: str, dirs: SandboxDirs) -> None:
        """See MountSync.bring_owed."""
        with mount_notes.opened(dirs) as notes:
            owed = await to_its_end(asyncio.to_thread(notes.owed))
            if not owed:
                # The machine went down before the note was on its disk.
                await to_its_end(asyncio.to_thread(notes.note_owed, owed))
        told = await self.synchronize(session_id, dirs, owed)
        if self.owes(dirs.base):
            raise SandboxUnavailable("what was changed in the session's memory stores cannot be kept yet")
        log.info("what %s owed to memory stores is there now: %s", session_id, told)

    async def _noted(
        self, session_id: str, notes: Notes, mount: Mount, known: dict[str, Known]
    ) -> tuple[list[str], bool]:
        """Make a pass over one store and note it; returns what the model must be told, and whether all was done."""
        before = known.get(mount.source, Known())
        known[mount.source] = now = replace(before, both=dict(before.both), sent=dict(before.sent))
        try:
            return await self._one(session_id, notes, mount, now)
        finally:
            # Also of one that is cut off, and after each: what follows may fail.
            if now != before:
                await to_its_end(asyncio.to_thread(notes.note_known, known))

    async def _one(self, session_id: str, notes: Notes, mount: Mount, known: Known) -> tuple[list[str], bool]:
        """Make a pass over one store, which brings *known* up to date. Returns what ``_noted`` does."""
        try:
            mirror = MemoryMirror(await self._memory(session_id), self._clock)
            with _opened(notes, mount) as directory:
                done = await mirror.synchronize(mount.source, session_id, directory, known, read_only=mount.read_only)
        except NotFound:
            self._recorder.count(catalogue.MEMORY_PASSES, "gone")
            told = [] if known.gone else [f"{mount.path}: this memory store was deleted; nothing there is kept."]
            known.both, known.sent, known.refused, known.gone, known.whole = {}, {}, {}, True, True
            return told, True
        except (HecatonError, OSError) as error:
            done = SyncPass(failed=error)
        self._count(done)
        told, refused = _told(mount, done, known), _sayable(done.refused)
        if done.failed is None:
            known.refused, known.gone, known.whole = refused, False, True
            return told, True
        log.warning("memory store %s of %s: %s: %s", mount.source, session_id, type(done.failed).__name__, done.failed)
        known.refused = known.refused | refused
        if not known.whole:
            reason = _reason(done.failed)
            raise SandboxUnavailable(f"the session's memory stores cannot be fetched: {reason}") from done.failed
        return [*told, f"{mount.path}: {NOT_NOW}"], False

    def _count(self, done: SyncPass) -> None:
        self._recorder.count(catalogue.MEMORY_PASSES, "ok" if done.failed is None else "failed")
        for act, count in done.acts.items():
            self._recorder.count(catalogue.MEMORY_CHANGES, act, by=count)


NOT_NOW = (
    "what was changed here may not be kept yet, and what others changed may be missing: the memory store cannot be "
    "reached. It is tried again with the next call."
)


class _WhileThere:
    """A directory of which nothing is believed when its session's files were taken away while they were looked at."""

    def __init__(self, directory: StoreDirectory | KeptDirectory, files: FileRoot, root: Path) -> None:
        self._directory = directory
        self._files = files
        self._root = root
        self.digest = directory.digest
        self.read = directory.read
        self.write = directory.write
        self.remove = directory.remove

    async def digests(self) -> Mapping[str, str] | None:
        found = await self._directory.digests()
        # Trees are renamed before they are removed.
        if not os.path.samestat(os.stat(self._root), os.fstat(self._files.fd)):
            raise FileNotFoundError(2, "the session's files were taken away", str(self._root))
        return found


@contextmanager
def _opened(notes: Notes, mount: Mount) -> Generator[Directory]:
    root, uid = notes.dirs.of(MEMORY), notes.dirs.uid
    place = f"{root}/{_slug(mount)}"
    fd = os.open(MEMORY, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=notes.fd)
    files = FileRoot(fd, home=str(root), uid=None if mount.read_only else uid, outside=str(root))
    try:
        directory = KeptDirectory(files, place) if mount.read_only else StoreDirectory(files, place)
        yield _WhileThere(directory, files, root)
    finally:
        files.close()


def _make(dirs: SandboxDirs, mounts: Sequence[Mount]) -> None:
    dirs.of(MEMORY).chmod(0o755)  # whatever the server's umask is
    for mount in mounts:
        place = dirs.of(MEMORY) / _slug(mount)
        if place.exists():
            continue
        with mount_notes.opened(dirs) as notes:
            notes.forget(mount.source)  # of one that is not there any more
        place.mkdir(mode=0o700)
        place.chmod(0o555 if mount.read_only else 0o700)
        if dirs.uid is not None and not mount.read_only:
            os.chown(place, dirs.uid, dirs.uid)


def _slug(mount: Mount) -> str:
    """Return the directory's name. Raises SandboxUnavailable for one that is no plain name."""
    name = mount.path.rpartition("/")[2]
    if name in ("", ".", ".."):
        raise SandboxUnavailable(f"{mount.path} cannot be a memory store's directory")
    return name


def _told(mount: Mount, done: SyncPass, last: Known) -> list[str]:
    why_lost = "this memory store is read-only" if mount.read_only else "somebody else had changed it, too"
    reasons = {path: f"your change was undone: {why_lost}" for path in done.lost}
    reasons |= {path: why for path, why in _sayable(done.refused).items() if last.refused.get(path) != why}
    lines = [f"{mount.path}{_shown(path)}: {why}" for path, why in sorted(reasons.items())[:_TOLD_AT_ONCE]]
    if len(reasons) > len(lines):
        lines.append(f"{mount.path}: so it is with {len(reasons) - len(lines)} more files")
    return ["Not kept in memory:\n" + "\n".join(lines)] if lines else []


def _sayable(refused: Mapping[str, str]) -> dict[str, str]:
    """Return it with paths that can be written down; names of files are any bytes."""
    return {path.encode(errors="replace").decode(): why for path, why in refused.items()}


def _shown(path: str) -> str:
    return path.encode(errors="replace").decode()[:_PATH_CHARS]


def _reason(error: HecatonError | OSError) -> str:
    return error.message if isinstance(error, HecatonError) else error.strerror or type(error).__name__
