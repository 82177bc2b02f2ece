"""What a backup holds, and how it comes back (ours)."""

from __future__ import annotations

import os
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
import yaml

from agents.backup import checkpoint_copies
from agents.backup.making import BackupOrder, make_backup
from agents.backup.manifest import BadBackup, Manifest
from agents.backup.restoring import RestoreOrder, restore_backup
from agents.backup.settings_copy import settings_text
from agents.clock import ManualClock
from agents.config import Settings
from agents.hands.checkpoint_store import CheckpointStore, LocalStore, Sink
from agents.vaults.settings import key_id
from tests.unit.backup.site import (
    add_blob,
    add_calls,
    add_credential,
    add_file,
    add_pack,
    add_session,
    add_skill,
    made_site,
    packs_of,
    settings_of,
)


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    settings = made_site(tmp_path / "data")
    add_session(settings.data_dir, "sesn_1", files_version=2)
    add_session(settings.data_dir, "sesn_2")
    for version in (1, 2):
        add_pack(packs_of(settings.data_dir), "sesn_1", version, b"files", needs=range(1, version))
    add_calls(settings.data_dir, "calls_1.parquet", b"books")
    return settings


def backed_up(settings: Settings, place: Path, **more: bool) -> Manifest:
    return make_backup(BackupOrder(settings, place, **more), ManualClock(), lambda what, size: None)


def restored(place: Path, settings: Settings, key_file: Path | None = None) -> Manifest:
    return restore_backup(RestoreOrder(place, settings, key_file), lambda what, size: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def sessions(data_dir: Path) -> list[str]:
    with closing(sqlite3.connect(data_dir / "hecaton.db")) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM sessions ORDER BY id")]


@pytest.mark.parametrize("name", ["backup", "backup.tar.gz"])
def test_database_files_and_books_come_back(site: Settings, tmp_path: Path, name: str) -> None:
    for folder in ("run", "sandboxes"):
        (site.data_dir / folder).mkdir()
    (site.data_dir / "master.key").write_text("secret")
    manifest = backed_up(site, tmp_path / name)
    assert (manifest.sessions, manifest.database, manifest.checkpoints) == (2, "sqlite", "copied")
    assert manifest.left_out == ("master.key", "run", "sandboxes")
    assert manifest.warnings == ()
    assert restored(tmp_path / name, settings_of(tmp_path / "new")) == manifest
    assert sessions(tmp_path / "new") == ["sesn_1", "sesn_2"]
    for folder in ("checkpoints", "calls"):
        assert contents(tmp_path / "new" / folder) == contents(site.data_dir / folder) != {}
    found = {path.name for path in (tmp_path / "new").iterdir()}
    assert found == {"hecaton.db", "checkpoints", "calls", "settings.yaml"}


def test_the_copy_is_of_one_moment_while_others_write(site: Settings, tmp_path: Path) -> None:
    with closing(sqlite3.connect(site.data_dir / "hecaton.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM sessions")
        backed_up(site, tmp_path / "backup")
        writer.execute("COMMIT")
    restored(tmp_path / "backup", settings_of(tmp_path / "new"))
    assert sessions(tmp_path / "new") == ["sesn_1", "sesn_2"]
    assert sessions(site.data_dir) == []


class BusyStore:
    """A store in which hosts write while packs are copied."""

    def __init__(self, store: CheckpointStore, at_read: Callable[[str], None]) -> None:
        self._store, self._at_read = store, at_read

    def sizes(self, folder: str) -> dict[str, int]:
        return self._store.sizes(folder)

    def writing(self, folder: str, name: str) -> AbstractContextManager[Sink]:
        return self._store.writing(folder, name)

    def read(self, folder: str, name: str, start: int, length: int) -> bytes:
        self._at_read(name)
        return self._store.read(folder, name, start, length)

    def remove(self, folder: str, names: Iterable[str]) -> None:
        self._store.remove(folder, names)

    def remove_folder(self, folder: str) -> None:
        self._store.remove_folder(folder)


def test_packs_that_a_host_writes_together_meanwhile_are_not_missed(
    site: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack is listed, and gone before it is copied: what took its place is in the backup."""
    local, tidied = packs_of(site.data_dir), []

    def tidy(name: str) -> None:
        if not tidied:
            tidied.append(name)
            add_pack(local, "sesn_1", 3, b"all of it")
            local.remove("sesn_1", [f"{version:015d}-host_1.pack" for version in (1, 2)])

    monkeypatch.setattr("agents.backup.making.open_store", lambda *given: BusyStore(local, tidy))
    manifest = backed_up(site, tmp_path / "backup")
    assert tidied and manifest.warnings == ()
    names = {entry.name for entry in manifest.files if entry.name.startswith("checkpoints/")}
    assert names == {f"checkpoints/sesn_1/{3:015d}-host_1.pack"}


def test_files_that_came_after_the_first_look_are_copied_too(
    site: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the copied log stands on was in the store before: packs are looked for after the database as well."""
    copy = checkpoint_copies.CheckpointCopies.copy
    looks: list[int] = []

    def then_work_goes_on(self: checkpoint_copies.CheckpointCopies, *given: object) -> None:
        copy(self, *given)  # type: ignore[arg-type]
        looks.append(len(looks))
        if len(looks) == 1:
            add_pack(packs_of(site.data_dir), "sesn_3", 1, b"new")
            add_session(site.data_dir, "sesn_3", files_version=1)

    monkeypatch.setattr(checkpoint_copies.CheckpointCopies, "copy", then_work_goes_on)
    manifest = backed_up(site, tmp_path / "backup")
    assert f"checkpoints/sesn_3/{1:015d}-host_1.pack" in {entry.name for entry in manifest.files}
    assert manifest.warnings == ()


def test_sessions_whose_newest_files_the_store_lacks_are_told_of(site: Settings, tmp_path: Path) -> None:
    add_session(site.data_dir, "sesn_3", files_version=1)
    (warning,) = backed_up(site, tmp_path / "backup").warnings
    assert "1 sessions: sesn_3" in warning


def test_a_pack_that_refers_to_one_that_is_gone_is_told_of(site: Settings, tmp_path: Path) -> None:
    packs_of(site.data_dir).remove("sesn_1", [f"{1:015d}-host_1.pack"])
    (warning,) = backed_up(site, tmp_path / "backup").warnings
    assert "sesn_1" in warning


def test_checkpoints_can_be_left_or_off(site: Settings, tmp_path: Path) -> None:
    left = backed_up(site, tmp_path / "left", checkpoints=False)
    off = backed_up(settings_of(site.data_dir, checkpoints={"mode": "off"}), tmp_path / "off")
    assert (left.checkpoints, off.checkpoints) == ("left", "off")
    assert left.warnings == () and "not in the backup" in off.warnings[0]
    for name in ("left", "off"):
        assert not (tmp_path / name / "checkpoints").exists()


def test_files_and_books_come_to_where_the_settings_want_them(site: Settings, tmp_path: Path) -> None:
    elsewhere = {"url": f"file://{tmp_path / 'bucket'}"}
    wanted = settings_of(tmp_path / "new", checkpoints=elsewhere, metering={"directory": tmp_path / "books"})
    backed_up(site, tmp_path / "backup.tar")
    restored(tmp_path / "backup.tar", wanted)
    assert contents(tmp_path / "bucket") == contents(site.data_dir / "checkpoints")
    assert contents(tmp_path / "books") == contents(site.data_dir / "calls")
    again = wanted.model_copy(update={"data_dir": tmp_path / "other"})
    with pytest.raises(BadBackup, match=r"checkpoints\.url is not empty"):
        restored(tmp_path / "backup.tar", again)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_bytes_of_files_and_archives_of_skills_come_back(site: Settings, tmp_path: Path, *, elsewhere: bool) -> None:
    add_blob(site.data_dir, "ab" * 32, b"uploaded")
    add_skill(site.data_dir, "skill_1", "skver_1", b"first")
    add_skill(site.data_dir, "skill_1", "skver_2", b"second")
    add_skill(site.data_dir, "skill_2", "skver_3", b"other")
    kept = contents(site.data_dir / "files")
    assert sorted(kept.values()) == [b"first", b"other", b"second", b"uploaded"]
    backed_up(site, tmp_path / "backup")
    place = tmp_path / "bucket" if elsewhere else tmp_path / "new" / "files"
    files = {"files": {"url": f"file://{place}"}} if elsewhere else {}
    restored(tmp_path / "backup", settings_of(tmp_path / "new", **files))
    assert contents(place) == kept
    backed_up(site, tmp_path / "left", checkpoints=False)
    assert not (tmp_path / "left" / "files").exists()


def test_files_whose_bytes_are_gone_are_told_of(site: Settings, tmp_path: Path) -> None:
    for number in range(3):
        add_file(site.data_dir, f"file_{number}", f"{number}" * 64)
        add_blob(site.data_dir, f"{number}" * 64, b"1")
    add_file(site.data_dir, "file_expired", "")
    assert backed_up(site, tmp_path / "all").warnings == ()
    LocalStore(site.data_dir / "files").remove("blobs/11", ["1" * 64])
    (warning,) = backed_up(site, tmp_path / "backup").warnings
    assert "1 contents" in warning and warning.endswith("file_1")
    assert backed_up(site, tmp_path / "left", checkpoints=False).warnings == ()


def test_a_data_directory_with_anything_in_it_is_refused(site: Settings, tmp_path: Path) -> None:
    backed_up(site, tmp_path / "backup")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").touch()
    with pytest.raises(BadBackup, match="not empty"):
        restored(tmp_path / "backup", settings_of(tmp_path / "new"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]
    (tmp_path / "new" / "mine").unlink()
    restored(tmp_path / "backup", settings_of(tmp_path / "new"))


def test_a_damaged_backup_leaves_nothing_behind(site: Settings, tmp_path: Path) -> None:
    backed_up(site, tmp_path / "backup")
    database = tmp_path / "backup" / "hecaton.db"
    os.truncate(database, database.stat().st_size // 2)
    with pytest.raises(BadBackup, match=r"hecaton\.db: damaged"):
        restored(tmp_path / "backup", settings_of(tmp_path / "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]


def test_a_newer_schema_than_this_release_knows_is_refused(site: Settings, tmp_path: Path) -> None:
    with closing(sqlite3.connect(site.data_dir / "hecaton.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    backed_up(site, tmp_path / "backup")
    with pytest.raises(BadBackup, match="schema 9999"):
        restored(tmp_path / "backup", settings_of(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_one_database_is_not_restored_into_the_other(
    site: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def empty(url: str) -> None: ...

    monkeypatch.setattr("agents.backup.postgres_copy.check_empty", empty)
    backed_up(site, tmp_path / "backup")
    wanted = settings_of(tmp_path / "new", database_url="postgresql+asyncpg://db/hecaton")
    with pytest.raises(BadBackup, match="database_url: must not be set"):
        restored(tmp_path / "backup", wanted)


def test_a_directory_without_a_database_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(BadBackup, match="no database"):
        backed_up(settings_of(tmp_path / "data"), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("table", ["sessions", "call_records"])
def test_a_damaged_database_is_not_backed_up(site: Settings, tmp_path: Path, table: str) -> None:
    """Whether the backup asks for what is damaged, or only copies it."""
    with closing(sqlite3.connect(site.data_dir / "hecaton.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with (site.data_dir / "hecaton.db").open("r+b") as file:
        file.seek((pages - 1) * size)
        file.write(b"\xff" * size)
    with pytest.raises(Exception, match=r"malformed|damaged|cannot|no database"):
        backed_up(site, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_the_keys_that_are_needed_are_named_and_never_inside(site: Settings, tmp_path: Path) -> None:
    key = os.urandom(32)
    (site.data_dir / "master.key").write_text(b64encode(key).decode())
    add_credential(site.data_dir, key_id(key))
    manifest = backed_up(site, tmp_path / "backup")
    assert manifest.master_keys == (key_id(key),)
    assert b64encode(key) not in b"".join(contents(tmp_path / "backup").values())
    other = tmp_path / "other.key"
    other.write_text(b64encode(os.urandom(32)).decode())
    with pytest.raises(BadBackup, match=key_id(key)):
        restored(tmp_path / "backup", settings_of(tmp_path / "new"), other)
    assert not (tmp_path / "new").exists()
    restored(tmp_path / "backup", settings_of(tmp_path / "new"), site.data_dir / "master.key")
    placed = tmp_path / "new" / "master.key"
    assert placed.read_bytes() == (site.data_dir / "master.key").read_bytes()
    assert placed.stat().st_mode & 0o777 == 0o600


def test_settings_are_kept_without_their_secrets(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        api_key="sk-1",
        api_keys={"team-a": "sk-2"},
        database_url="postgresql+asyncpg://u:sk-3@db/h",
        sandbox={"warm": 5},
        checkpoints={"url": "s3://user:sk-4@bucket/x"},
        hands={"crm": {"server": "crm:server", "runtime_env": {"env_vars": {"API_TOKEN": "sk-5", "MODE": "fast"}}}},
    )
    text = settings_text(settings)
    assert "sk-" not in text
    kept = yaml.safe_load(text)
    assert kept["sandbox"] == {"warm": 5} and kept["checkpoints"] == {"url": "s3://bucket/x"}
    assert kept["hands"]["crm"]["runtime_env"]["env_vars"] == {"MODE": "fast"}
    assert "data_dir" not in kept
    for key in ("api_key", "api_keys.team-a", "database_url", "hands.crm.runtime_env.env_vars.API_TOKEN"):
        assert f"# {key}: set this again" in text
    assert Settings.model_validate(kept).sandbox.warm == 5
