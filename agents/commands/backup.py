"""``hecaton backup`` and ``hecaton restore``: what they say while they work, and what is left to do by hand."""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from agents.backup.making import BackupOrder, make_backup
from agents.backup.making import Progress as Told
from agents.backup.manifest import Manifest
from agents.backup.restoring import RestoreOrder, restore_backup
from agents.backup.settings_copy import NAME as SETTINGS
from agents.clock import SystemClock
from agents.commands.failures import CommandFailed
from agents.commands.platform import started_settings
from agents.config import Settings
from agents.vaults.master_keys import key_file

_SHOWN = 10


def backed_up_settings(settings: Settings, *, given: bool) -> Settings:
    """Return what the platform of the data directory was started with, unless settings were *given*."""
    found = None if given else started_settings(settings)
    # A data directory that was moved is still the one that is named.
    return settings if found is None else found.model_copy(update={"data_dir": settings.data_dir})


def back_up(console: Console, settings: Settings, place: Path, *, checkpoints: bool, key_out: Path | None) -> None:
    """Make a backup and say what is in it, and what is not. Raises CommandFailed and as ``make_backup``."""
    key = _key_to_copy(settings, key_out) if key_out is not None else None
    with _progress(console) as told, _disk_faults():
        manifest = make_backup(BackupOrder(settings, place, checkpoints), SystemClock(), told)
        if key is not None and key_out is not None:
            _copy_key(key, key_out)
    console.print(f"{place}: {_summary(manifest)}")
    _say(console, manifest)
    if key_out is not None:
        console.print(f"master keys: {key_out}; keep that file apart from the backup")
    elif manifest.master_keys:
        console.print(Text(_keys_needed(settings, manifest), style="yellow"))


def bring_back(console: Console, settings: Settings, place: Path, key: Path | None) -> None:
    """Restore a backup and say how to go on. Raises CommandFailed and as ``restore_backup``."""
    with _progress(console) as told, _disk_faults():
        manifest = restore_backup(RestoreOrder(place, settings, key), told)
    console.print(f"{settings.data_dir}: {_summary(manifest)}")
    _say(console, manifest)
    if manifest.master_keys and key is None:
        ids = ", ".join(manifest.master_keys)
        console.print(
            Text(
                f"secrets of vaults are sealed under {ids}: bring these master keys (docs/backup.md), or sessions"
                " that use those secrets fail",
                style="yellow",
            )
        )
    file = settings.data_dir / SETTINGS
    console.print(f"what the platform was set to is in {file}, less its secrets: look through it, and set them again")
    console.print("make sure that the old platform is down for good; then:")
    # Without its settings it would have other brains and, where PostgreSQL has the sessions, an empty SQLite.
    order = ("hecaton", "up", "--config", str(file), "--data-dir", str(settings.data_dir))
    console.print(Text(f"  {shlex.join(order)}"), soft_wrap=True)


def _summary(manifest: Manifest) -> str:
    return (
        f"{manifest.sessions} sessions, {len(manifest.files)} files, {decimal(manifest.total_bytes)},"
        f" {manifest.database} (schema {manifest.schema_revision}), made {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
        f" by Hecaton {manifest.hecaton}"
    )


def _say(console: Console, manifest: Manifest) -> None:
    if manifest.checkpoints == "left":
        console.print("sandboxes' files are not inside: they stay in the store of checkpoints")
    for warning in manifest.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    if manifest.left_out:
        more = " …" if len(manifest.left_out) > _SHOWN else ""
        console.print(f"not inside, of the data directory: {', '.join(manifest.left_out[:_SHOWN])}{more}")


def _keys_needed(settings: Settings, manifest: Manifest) -> str:
    file = key_file(settings)
    where = f"{file.path} (--key-out FILE copies it)" if file is not None else "where the settings have them from"
    return f"not inside: the master keys {', '.join(manifest.master_keys)}, which open the vaults' secrets; {where}"


def _key_to_copy(settings: Settings, key_out: Path) -> Path:
    file = key_file(settings)
    if file is None:
        raise CommandFailed("--key-out: this platform's master key is in no file; keep it where it is", exit_code=2)
    if not file.path.is_file():
        raise CommandFailed(f"--key-out: there is no {file.path}: no secret has been sealed yet", exit_code=2)
    if key_out.exists():
        raise CommandFailed(f"--key-out: {key_out} is there already", exit_code=2)
    return file.path


def _copy_key(key: Path, key_out: Path) -> None:
    descriptor = os.open(key_out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as out:
        out.write(key.read_bytes())
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def _disk_faults() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"{error.filename or 'the disk'}: {error.strerror or error}") from error


@contextmanager
def _progress(console: Console) -> Generator[Told]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, object] = {}

        def told(what: str, size: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.advance(tasks[what], size)  # pyright: ignore[reportArgumentType] - a TaskID

        yield told
