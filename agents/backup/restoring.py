"""Bringing a backup back: all of it is unpacked beside its place, held against the manifest, then put there at once.

Invariant: the data directory holds a whole platform or nothing; the same of the database at a URL.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory

from agents.backup import postgres_copy
from agents.backup.archive import sync_tree, unpack
from agents.backup.blob_copies import FOLDER as FILES
from agents.backup.blob_copies import restore_blobs
from agents.backup.checkpoint_copies import FOLDER as CHECKPOINTS
from agents.backup.checkpoint_copies import restore_checkpoints
from agents.backup.database_copy import free_leases
from agents.backup.making import CALLS, DUMP_NAME, SQLITE_NAME, Progress
from agents.backup.manifest import BadBackup, Manifest
from agents.config import Settings
from agents.disk import sync_directory
from agents.economics.call_books import call_folder
from agents.files.blobs import open_blob_store
from agents.hands.checkpoint_store import open_store
from agents.store.migrate import SCRIPTS
from agents.vaults.settings import parsed_keys

MASTER_KEY = "master.key"


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """What to bring back, and where to."""

    place: Path
    settings: Settings
    """Of the platform to be: its data directory, and where it wants database, checkpoints and books."""
    key_file: Path | None = None
    """Master keys to put beside the database, for vaults whose key is a file."""


def restore_backup(order: RestoreOrder, told: Progress) -> Manifest:
    """Bring it back; returns what it held. Blocks.

    Raises BadBackup, Unavailable, StoreUnavailable, InvalidRequest, OSError; then nothing is at its place, but for
    checkpoints in a bucket.
    """
    target = order.settings.data_dir
    check_target(target)
    keys = _keys(order.key_file)
    if order.settings.database_url is not None:
        asyncio.run(postgres_copy.check_empty(order.settings.database_url.get_secret_value()))
    with _beside(target) as draft:
        manifest = unpack(order.place, draft, lambda size: told("checking", size))
        _check(manifest, order.settings)
        if order.key_file is not None:
            _place_key(draft, keys, order.key_file, manifest)
        if manifest.database == "sqlite":
            # It is byte for byte what SQLite found no fault in when the backup was made.
            free_leases(draft / SQLITE_NAME)
        _place_elsewhere(draft, order.settings, told)
        if manifest.database == "postgresql":
            _load(draft, order.settings, told)
        sync_tree(draft)
        # An empty directory gives way to one that is renamed to its name; one with anything in it does not.
        os.rename(draft, target)
    sync_directory(target.parent)
    return manifest


def check_target(target: Path) -> None:
    """Raise BadBackup unless the data directory is still to be made, or empty."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadBackup(f"{target} is not empty; name an empty data directory, or move that one away")


@contextmanager
def _beside(target: Path) -> Generator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.restoring-{os.getpid()}")
    # As a server makes its own: users of sandboxes must be able to pass through.
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check(manifest: Manifest, settings: Settings) -> None:
    known = {script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()}
    if manifest.schema_revision not in known:
        raise BadBackup(
            f"the backup's database has schema {manifest.schema_revision}, which this release does not know:"
            f" restore it with Hecaton {manifest.hecaton} or newer"
        )
    if (manifest.database == "postgresql") != (settings.database_url is not None):
        word = "must name an empty PostgreSQL database" if manifest.database == "postgresql" else "must not be set"
        raise BadBackup(f"database_url: {word}: the backup is one of {manifest.database}")


def _keys(file: Path | None) -> frozenset[str]:
    if file is None:
        return frozenset()
    try:
        return frozenset(parsed_keys(file.read_text(encoding="ascii")))
    except (OSError, ValueError) as error:
        raise BadBackup(f"key file {file}: {error}") from None


def _place_key(draft: Path, keys: frozenset[str], file: Path, manifest: Manifest) -> None:
    if missing := sorted(set(manifest.master_keys) - keys):
        raise BadBackup(f"key file {file} lacks the master keys {', '.join(missing)}, which seal secrets of the backup")
    shutil.copyfile(file, draft / MASTER_KEY)
    (draft / MASTER_KEY).chmod(0o600)


def _place_elsewhere(draft: Path, settings: Settings, told: Progress) -> None:
    """Bring checkpoints and books to where the settings want them, when that is not the data directory."""
    if settings.checkpoints.url is not None and (draft / CHECKPOINTS).exists():
        store = open_store(settings.checkpoints, settings.data_dir)
        if store is not None:
            restore_checkpoints(draft, store, lambda size: told("files", size))
            shutil.rmtree(draft / CHECKPOINTS)
    if settings.files.url is not None and (draft / FILES).exists():
        restore_blobs(draft, open_blob_store(settings), lambda size: told("files", size))
        shutil.rmtree(draft / FILES)
    if settings.metering.directory is not None and (draft / CALLS).exists():
        books = call_folder(settings)
        if books.exists() and any(books.glob("month=*")):
            raise BadBackup(f"metering.directory: {books} is not empty")
        shutil.copytree(draft / CALLS, books, dirs_exist_ok=True)
        shutil.rmtree(draft / CALLS)


def _load(draft: Path, settings: Settings, told: Progress) -> None:
    assert settings.database_url is not None, "_check has seen to it"
    dump = draft / DUMP_NAME
    asyncio.run(postgres_copy.load(settings.database_url.get_secret_value(), dump))
    told("database", dump.stat().st_size)
    dump.unlink()
