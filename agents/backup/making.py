"""Making a backup: what goes in, and in which order.

First the checkpoints that are there, then the database as of one moment, then the checkpoints that came meanwhile, the
bytes of uploaded files, and last the books of calls. So the files that the copied log stands on are always in the
backup, and at most a few seconds newer than it, and each call is in the database, in the books, or in both, where it
counts once.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from agents.backup import database_copy, postgres_copy
from agents.backup.archive import Archive, add_bytes, writing
from agents.backup.blob_copies import copy_blobs
from agents.backup.checkpoint_copies import CheckpointCopies
from agents.backup.database_copy import DatabaseFacts
from agents.backup.manifest import NAME as MANIFEST
from agents.backup.manifest import BadBackup, FileEntry, Manifest
from agents.backup.settings_copy import NAME as SETTINGS
from agents.backup.settings_copy import settings_text
from agents.clock import Clock
from agents.config import Settings
from agents.economics.call_books import call_folder
from agents.files.blobs import FOLDERS, open_blob_store
from agents.hands.checkpoint_store import open_store
from agents.skills.archive_store import folder_of

SQLITE_NAME = "hecaton.db"
DUMP_NAME = "database.dump"
CALLS = "calls"
_INSIDE = frozenset({SQLITE_NAME, f"{SQLITE_NAME}-wal", f"{SQLITE_NAME}-shm", "checkpoints", "files", CALLS})
_NAMED = 5

Progress = Callable[[str, int], None]
"""Hears what is being copied, and how many bytes of it came since the last call."""


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """What to back up, and where to."""

    settings: Settings
    place: Path
    checkpoints: bool = True
    """Whether copies of sandboxes' files come along; a bucket that is kept safe by itself needs none."""


def make_backup(order: BackupOrder, clock: Clock, told: Progress) -> Manifest:
    """Make it, while the platform runs or not; returns what it holds. Blocks.

    Raises BadBackup, Unavailable, StoreUnavailable, InvalidRequest, OSError; then there is no backup.
    """
    with (
        writing(order.place) as archive,
        tempfile.TemporaryDirectory(prefix=".hecaton-backup-", dir=order.place.parent) as scratch,
    ):
        return _Backup(order, archive, Path(scratch), told).make(clock)


class _Backup:
    def __init__(self, order: BackupOrder, archive: Archive, scratch: Path, told: Progress) -> None:
        self._settings = order.settings
        self._archive = archive
        self._scratch = scratch
        self._told = told
        self._entries: list[FileEntry] = []
        store = open_store(self._settings.checkpoints, self._settings.data_dir) if order.checkpoints else None
        self._checkpoints = CheckpointCopies(store, archive, scratch) if store else None
        off = self._settings.checkpoints.mode == "off"
        self._state: Literal["copied", "left", "off"] = "off" if off else "copied" if order.checkpoints else "left"

    def make(self, clock: Clock) -> Manifest:
        made_at = clock.now()
        if self._checkpoints is not None:
            # Most bytes come now: the less is left for afterwards, the closer files and log are to each other.
            self._checkpoints.copy(self._sessions(), lambda size: self._told("files", size))
        facts = self._database()
        warnings = [*self._files_after(facts), *self._uploads(facts)]
        self._calls()
        text = settings_text(self._settings).encode()
        self._entries.append(add_bytes(self._archive, SETTINGS, text))
        manifest = Manifest(
            hecaton=version("hecaton"),
            made_at=made_at,
            database="sqlite" if self._url is None else "postgresql",
            schema_revision=facts.revision,
            sessions=len(facts.files),
            checkpoints=self._state,
            master_keys=facts.master_keys,
            left_out=self._left_out(),
            warnings=tuple(warnings),
            files=tuple(self._entries),
        )
        add_bytes(self._archive, MANIFEST, manifest.to_bytes())
        return manifest

    @property
    def _url(self) -> str | None:
        url = self._settings.database_url
        return None if url is None else url.get_secret_value()

    @property
    def _sqlite(self) -> Path:
        found = self._settings.database_file
        if not found.is_file():
            raise BadBackup(
                f"there is no database in {self._settings.data_dir}; name the server's --data-dir or --config"
            )
        return found

    def _sessions(self) -> list[str]:
        if self._url is not None:
            return asyncio.run(postgres_copy.session_ids(self._url))
        return database_copy.session_ids(self._sqlite)

    def _database(self) -> DatabaseFacts:
        if self._url is not None:
            copy = self._scratch / DUMP_NAME
            facts = asyncio.run(postgres_copy.dump(self._url, copy))
        else:
            copy = self._scratch / SQLITE_NAME
            database_copy.copy_sqlite(self._sqlite, copy)
            facts = database_copy.facts_of_sqlite(copy)
        self._add(copy.name, copy, "database")
        copy.unlink()
        return facts

    def _files_after(self, facts: DatabaseFacts) -> Sequence[str]:
        """Bring in the packs that came since; returns warnings."""
        if self._checkpoints is None:
            return () if self._state == "left" else ("checkpoints.mode is off: sandboxes' files are not in the backup",)
        self._checkpoints.copy(facts.files, lambda size: self._told("files", size))
        self._entries += self._checkpoints.entries
        behind = self._checkpoints.behind(facts.files)
        if not behind:
            return ()
        return (f"the store of checkpoints lacks the newest files of {len(behind)} sessions: {_named(behind)}",)

    def _uploads(self, facts: DatabaseFacts) -> Sequence[str]:
        """Copy the bytes of files and the archives of skills, where sandboxes' files come along; returns warnings."""
        if self._state == "left":
            return ()
        store = open_blob_store(self._settings)
        told = self._told
        folders = (*FOLDERS, *map(folder_of, facts.skills))
        entries = copy_blobs(store, self._archive, self._scratch, folders, lambda size: told("files", size))
        self._entries += entries
        copied = {entry.name.rpartition("/")[2] for entry in entries}
        lost = [file for sha256, file in facts.contents.items() if sha256 not in copied]
        if not lost:
            return ()
        return (f"the bytes of {len(lost)} contents of files are not there: {_named(lost)}",)

    def _calls(self) -> None:
        """Copy the books of calls; files that were merged away meanwhile are in what they were merged into."""
        folder = call_folder(self._settings)
        done: set[Path] = set()
        while missing := [file for file in sorted(folder.glob("month=*/*.parquet")) if file not in done]:
            for file in missing:
                done.add(file)
                name = f"{CALLS}/{file.parent.name}/{file.name}"
                try:
                    self._add(name, file, "calls")
                except FileNotFoundError:
                    continue

    def _add(self, name: str, file: Path, what: str) -> None:
        with file.open("rb") as source:
            size = file.stat().st_size
            self._entries.append(self._archive.add(name, source, size))
        self._told(what, size)

    def _left_out(self) -> tuple[str, ...]:
        data_dir = self._settings.data_dir
        found = (path.name for path in data_dir.iterdir()) if data_dir.is_dir() else ()
        return tuple(sorted(name for name in found if name not in _INSIDE))


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
