"""A hand's code on its way: one digest for one code, and archives that stay within their bounds (ours)."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from agents.errors import InvalidRequest, PayloadTooLarge
from agents.hand_settings import HandDefinition
from agents.hands.deployed import source
from agents.hands.deployed.loading import HandUnusable, hide_environment, load_server
from agents.hands.deployed.source import digest_of, pack, packed_files, unpack, unpacked

SERVER = "from mcp.server.mcpserver import MCPServer\nserver = MCPServer('x')\nother = 5\n"


def archived(archive: bytes | None) -> dict[str, bytes]:
    assert archive is not None
    return unpacked(archive)


def test_a_file_a_package_and_a_working_directory_become_modules_in_an_archive(tmp_path: Path) -> None:
    package = tmp_path / "crm_hand"
    package.mkdir()
    (package / "__init__.py").write_text(SERVER)
    (package / ".secret").write_text("left out")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_text("left out")
    (tmp_path / "crm.py").write_text(SERVER)
    definition, archive = pack(HandDefinition(server=f"{tmp_path}/crm.py:server"))
    assert (definition.server, archived(archive)) == ("crm:server", {"crm.py": SERVER.encode()})
    definition, archive = pack(HandDefinition(server=f"{tmp_path}/crm_hand:server"))
    assert definition.server == "crm_hand:server"
    assert archived(archive) == {"crm_hand/__init__.py": SERVER.encode()}
    definition, archive = pack(HandDefinition(server="crm_hand:server", working_dir=tmp_path))
    assert definition.working_dir is None
    assert set(archived(archive)) == {"crm.py", "crm_hand/__init__.py"}
    assert pack(HandDefinition(server="json:loads")) == (HandDefinition(server="json:loads"), None)


def test_what_can_not_be_packed_is_named(tmp_path: Path) -> None:
    for server, word in (("missing.py:server", "there is no"), ("a-b.py:server", "'a-b.py' can not be imported")):
        with pytest.raises(InvalidRequest, match=word):
            pack(HandDefinition(server=f"{tmp_path}/{server}"))


def test_the_digest_is_of_what_is_in_an_archive_and_not_of_how_it_was_packed() -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("b.py", "2")
        archive.writestr("a.py", "1")
    assert digest_of(stored.getvalue()) == digest_of(packed_files({"a.py": b"1", "b.py": b"2"}))
    others = [{"a.py": b"1", "b.py": b"3"}, {"a.py": b"1"}, {"a.py": b"12"}]
    assert len({digest_of(stored.getvalue()), *(digest_of(packed_files(files)) for files in others)}) == 4


@pytest.mark.parametrize("name", ["../a.py", "/etc/a.py", "a/../../b.py", "..\\a.py"])
def test_nothing_is_unpacked_outside_its_directory(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is no place within the archive"):
        unpacked(packed_files({name: b"1"}))


def test_archives_are_bounded_by_what_they_unpack_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bomb = packed_files({"a.py": b"0" * 100_000})
    monkeypatch.setattr(source, "MOST_BYTES", 1000)
    with pytest.raises(PayloadTooLarge):
        unpacked(bomb)
    (tmp_path / "a.py").write_text("0" * 2000)
    with pytest.raises(PayloadTooLarge):
        pack(HandDefinition(server="a:server", working_dir=tmp_path))
    for broken in (b"", b"no zip", bomb[:-30]):
        with pytest.raises(InvalidRequest):
            unpacked(broken)


def test_who_is_not_the_first_to_unpack_leaves_nothing_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Replicas of a hand start together on a node."""
    archive = packed_files({"crm.py": SERVER.encode()})
    digest, read = digest_of(archive), source.unpacked

    def after_another(packed: bytes) -> dict[str, bytes]:
        monkeypatch.setattr(source, "unpacked", read)
        unpack(packed, digest, tmp_path)
        return read(packed)

    monkeypatch.setattr(source, "unpacked", after_another)
    assert unpack(archive, digest, tmp_path) == tmp_path / digest
    assert [each.name for each in tmp_path.iterdir()] == [digest]


def test_a_server_is_imported_from_where_its_archive_was_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    archive = packed_files({"hand_under_test.py": SERVER.encode(), "hand_that_fails.py": b"import nothing_there"})
    digest = digest_of(archive)
    directory = unpack(archive, digest, tmp_path)
    assert directory == unpack(archive, digest, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [digest]
    assert load_server("hand_under_test:server", directory).name == "x"
    faults = {
        "hand_under_test:other": "is a int, not an MCPServer or Server",
        "hand_under_test:nothing": "has no 'nothing'",
        "hand_that_fails:server": "No module named 'nothing_there'",
    }
    for server, word in faults.items():
        with pytest.raises(HandUnusable, match=word):
            load_server(server)


def test_of_the_platforms_secrets_a_hand_sees_those_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HECATON_API_KEY", "HECATON_CRM_URL", "CRM_TOKEN", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "secret")
    with pytest.raises(HandUnusable, match="CRM_MISSING"):
        hide_environment(["CRM_TOKEN", "CRM_MISSING"])
    hide_environment(["CRM_TOKEN", "HECATON_CRM_URL"])
    assert {"CRM_TOKEN", "HECATON_CRM_URL"} <= os.environ.keys()
    assert not {"HECATON_API_KEY", "ANTHROPIC_API_KEY"} & os.environ.keys()
