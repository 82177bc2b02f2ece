"""Copies of sandboxes' files on their way into a backup and back: the packs of each session, as the store has them.

A pack never changes, but hosts write new ones and remove old ones while they are copied. So a folder is listed again
until all that one listing had is in the backup, and what the newest of them needs. Packs are copied after the
database too: what its log stands on was durable before, and what came since is newer, never older.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from agents.backup.archive import PIECE_BYTES, Archive
from agents.backup.manifest import BadBackup, FileEntry
from agents.hands.checkpoint_history import load_version, stored_names
from agents.hands.checkpoint_manifest import DamagedPack
from agents.hands.checkpoint_pack import PackName
from agents.hands.checkpoint_store import CheckpointStore

FOLDER = "checkpoints"
_LISTINGS = 20
"""A host removes packs once in some tens of calls, and a listing is copied within seconds."""
_IN_MEMORY = 16 * 1024**2


class CheckpointCopies:
    """The packs that one backup has so far."""

    def __init__(self, store: CheckpointStore, archive: Archive, scratch: Path) -> None:
        """*scratch*: a directory for packs that are too large for memory."""
        self._store = store
        self._archive = archive
        self._scratch = scratch
        self._newest: dict[str, int] = {}
        self._copied: set[tuple[str, PackName]] = set()
        self.entries: list[FileEntry] = []

    def copy(self, sessions: Iterable[str], told: Callable[[int], None]) -> None:
        """Bring in what the store has of *sessions* and the backup has not; *told* hears of the bytes.

        A session whose packs are not whole in the store either is behind then. Raises StoreUnavailable, OSError, and
        BadBackup for a session whose packs never stay for long enough.
        """
        for session in sessions:
            self._copy_session(session, told)

    def behind(self, files: Mapping[str, int]) -> list[str]:
        """Return the sessions whose log stands on newer *files* than the backup has whole."""
        return [session for session, version in files.items() if self._newest.get(session, 0) < version]

    def _copy_session(self, session: str, told: Callable[[int], None]) -> None:
        missing: list[PackName] = []
        for _ in range(_LISTINGS):
            names = stored_names(self._store, session)
            missing = [name for name in sorted(names) if (session, name) not in self._copied]
            newest = max((name.version for name in names), default=0)
            if not missing and (self._newest.get(session) == newest or self._whole(session, names)):
                self._newest[session] = newest
                return
            for name in missing:
                self._copy_pack(session, name, names[name], told)
        if missing:
            raise BadBackup(f"the checkpoints of session {session} change faster than they can be copied; try again")

    def _copy_pack(self, session: str, name: PackName, size: int, told: Callable[[int], None]) -> None:
        """Copy one pack, unless it went meanwhile: then a newer one does without it."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self._scratch)) as spool:
            done = 0
            try:
                while done < size and (piece := self._store.read(session, str(name), done, PIECE_BYTES)):
                    spool.write(piece)
                    done += len(piece)
            except FileNotFoundError:
                return
            spool.seek(0)
            # What is cut off in the store is so in the backup: a restore passes such a pack over.
            self.entries.append(self._archive.add(f"{FOLDER}/{session}/{name}", spool, done))
        self._copied.add((session, name))
        told(done)

    def _whole(self, session: str, names: dict[PackName, int]) -> bool:
        """Whether all that the newest sound pack needs is copied: a listing is not of one moment."""
        for name in sorted(names, reverse=True):
            try:
                manifest = load_version(self._store, session, names, name).manifest
            except DamagedPack:
                continue  # as whoever restores goes on to the next one
            needed = [PackName.parse(pack) for pack, _ in manifest.packs.values()]
            return all(pack is not None and (session, pack) in self._copied for pack in needed)
        return not names


def restore_checkpoints(unpacked: Path, store: CheckpointStore, told: Callable[[int], None]) -> None:
    """Write unpacked packs to a store elsewhere.

    Raises BadBackup when it has some of these sessions, StoreUnavailable.
    """
    folders = sorted(path for path in (unpacked / FOLDER).glob("*") if path.is_dir())
    if taken := [folder.name for folder in folders if store.sizes(folder.name)]:
        raise BadBackup(f"checkpoints.url is not empty: it has files of {len(taken)} sessions, such as {taken[0]}")
    for folder in folders:
        for pack in sorted(folder.iterdir()):
            with pack.open("rb") as source, store.writing(folder.name, pack.name) as sink:
                while piece := source.read(PIECE_BYTES):
                    sink.write(piece)
                    told(len(piece))
