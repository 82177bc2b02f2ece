"""A backup is whole or not there; what is wrong with one is named, file by file (ours)."""

from __future__ import annotations

import os
import tarfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from agents.backup.archive import add_bytes, unpack, writing
from agents.backup.manifest import NAME, BadBackup, Manifest

FILES = {"hecaton.db": b"rows", "checkpoints/sesn_1/p.pack": b"\0" * 100_000, "empty": b""}


def manifest_of(*entries: object) -> Manifest:
    return Manifest.model_validate(
        {
            "hecaton": "1",
            "made_at": datetime(2026, 11, 22, tzinfo=UTC),
            "database": "sqlite",
            "schema_revision": "0001",
            "sessions": 1,
            "checkpoints": "copied",
            "master_keys": (),
            "left_out": (),
            "warnings": (),
            "files": entries,
        }
    )


def made(place: Path) -> Path:
    with writing(place) as archive:
        entries = [add_bytes(archive, name, content) for name, content in FILES.items()]
        add_bytes(archive, NAME, manifest_of(*entries).to_bytes())
    return place


def unpacked(place: Path, into: Path) -> Manifest:
    into.mkdir()
    return unpack(place, into, lambda size: None)


@pytest.mark.parametrize("name", ["folder", "file.tar", "file.tar.gz", "file.tgz"])
def test_what_went_in_comes_out(tmp_path: Path, name: str) -> None:
    manifest = unpacked(made(tmp_path / name), tmp_path / "out")
    assert {file: (tmp_path / "out" / file).read_bytes() for file in FILES} == FILES
    assert {entry.name: entry.size for entry in manifest.files} == {
        name: len(content) for name, content in FILES.items()
    }


@pytest.mark.parametrize("name", ["folder", "file.tar"])
def test_nobody_else_may_read_it(tmp_path: Path, name: str) -> None:
    place = made(tmp_path / name)
    assert place.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["folder", "file.tar.gz"])
def test_a_backup_that_fails_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError), writing(tmp_path / name) as archive:
        add_bytes(archive, "a", b"1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_backup_is_not_written_over(tmp_path: Path) -> None:
    place = made(tmp_path / "file.tar")
    before = place.read_bytes()
    with pytest.raises(BadBackup, match="there already"), writing(place):
        pass
    assert place.read_bytes() == before


def test_every_file_that_is_damaged_missing_or_nobodys_is_named(tmp_path: Path) -> None:
    place = made(tmp_path / "folder")
    (place / "hecaton.db").write_bytes(b"rowz")
    (place / "checkpoints/sesn_1/p.pack").unlink()
    (place / "stray").touch()
    with pytest.raises(BadBackup) as caught:
        unpacked(place, tmp_path / "out")
    lines = caught.value.message.splitlines()[1:]
    assert [line.partition(":")[0] for line in lines] == ["checkpoints/sesn_1/p.pack", "hecaton.db", "stray"]
    assert ["missing" in lines[0], "damaged" in lines[1], "not in the manifest" in lines[2]] == [True] * 3


@pytest.mark.parametrize("name", ["file.tar", "file.tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, name: str, share: float) -> None:
    place = made(tmp_path / name)
    os.truncate(place, int(place.stat().st_size * share))
    with pytest.raises(BadBackup):
        unpacked(place, tmp_path / "out")


@pytest.mark.parametrize("name", ["file.tar", "file.tar.gz"])
def test_any_flipped_byte_of_its_files_is_found(tmp_path: Path, name: str) -> None:
    place = made(tmp_path / name)
    whole = place.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        place.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        into = tmp_path / f"out{at}"
        try:
            unpacked(place, into)
        except BadBackup:
            continue
        # Padding, and what tar says of times and owners, is nobody's data.
        assert {file: (into / file).read_bytes() for file in FILES} == FILES


@pytest.mark.parametrize("evil", ["../out-there", "/etc/passwd", "a/../../b"])
def test_no_name_leads_out_of_the_place_it_is_unpacked_in(tmp_path: Path, evil: str) -> None:
    place = tmp_path / "evil.tar"
    with tarfile.open(place, "w") as tar:
        member = tarfile.TarInfo(evil)
        member.size = 1
        tar.addfile(member, BytesIO(b"x"))
    with pytest.raises(BadBackup, match="no plain file"):
        unpacked(place, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar", "out"]


def test_a_link_is_no_file_of_a_backup(tmp_path: Path) -> None:
    place = made(tmp_path / "folder")
    (place / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadBackup, match="no plain file"):
        unpacked(place, tmp_path / "out")


def test_what_has_no_manifest_is_no_backup(tmp_path: Path) -> None:
    with writing(tmp_path / "file.tar") as archive:
        add_bytes(archive, "a", b"1")
    with pytest.raises(BadBackup, match="no manifest"):
        unpacked(tmp_path / "file.tar", tmp_path / "out")
    with pytest.raises(BadBackup, match="not there"):
        unpacked(tmp_path / "nowhere.tar", tmp_path / "out2")


def test_a_manifest_that_was_changed_is_refused() -> None:
    data = manifest_of().to_bytes()
    assert Manifest.parse(data) == manifest_of()
    with pytest.raises(BadBackup, match="damaged"):
        Manifest.parse(data.replace(b'"0001"', b'"0002"'))
    with pytest.raises(BadBackup, match="format 7"):
        Manifest.parse(data.replace(b'"format": 1', b'"format": 7'))
    for nonsense in (b"", b"[]", b"{}", b"\xff"):
        with pytest.raises(BadBackup):
            Manifest.parse(nonsense)
