"""The bytes of files, and the archives of skills beside them, on their way into a backup and back.

A blob never changes, and one that the copied database names is there for an hour after its last file went: so blobs
are copied after the database. One that goes while they are copied belongs to no file any more, and the backup tells of
it. An archive is there before its version is, and until the version has gone: what goes meanwhile was deleted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from agents.backup.archive import PIECE_BYTES, Archive
from agents.backup.manifest import BadBackup, FileEntry
from agents.files.blobs import FOLDERS
from agents.hands.checkpoint_store import CheckpointStore
from agents.skills.archive_store import FOLDER as SKILLS
from agents.skills.archive_store import folder_of

FOLDER = "files"
"""In the backup, and in the data directory of whoever keeps them there."""
_IN_MEMORY = 16 * 1024**2


def copy_blobs(
    store: CheckpointStore, archive: Archive, scratch: Path, folders: Iterable[str], told: Callable[[int], None]
) -> list[FileEntry]:
    """Bring in all that is in these folders; *told* hears of the bytes. Raises StoreUnavailable, OSError."""
    entries: list[FileEntry] = []
    for folder in folders:
        for name, size in sorted(store.sizes(folder).items()):
            with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(scratch)) as spool:
                try:
                    for piece in _pieces(store, folder, name, size):
                        spool.write(piece)
                except FileNotFoundError:
                    continue
                spool.seek(0)
                entries.append(archive.add(f"{FOLDER}/{folder}/{name}", spool, size))
            told(size)
    return entries


def restore_blobs(unpacked: Path, store: CheckpointStore, told: Callable[[int], None]) -> None:
    """Write what was unpacked to a store elsewhere; one that has some of it keeps that. Raises StoreUnavailable."""
    skills = (folder_of(each.name) for each in sorted((unpacked / FOLDER / SKILLS).glob("*")))
    for folder in (*FOLDERS, *skills):
        there = store.sizes(folder)
        for blob in sorted((unpacked / FOLDER / folder).glob("*")):
            if there.get(blob.name) == blob.stat().st_size:
                continue
            with blob.open("rb") as source, store.writing(folder, blob.name) as sink:
                while piece := source.read(PIECE_BYTES):
                    sink.write(piece)
                    told(len(piece))


def _pieces(store: CheckpointStore, folder: str, name: str, size: int) -> Iterator[bytes]:
    done = 0
    while done < size:
        piece = store.read(folder, name, done, PIECE_BYTES)
        if not piece:
            raise BadBackup(f"the blob {folder}/{name} is cut off after {done} of {size} bytes")
        yield piece
        done += len(piece)
