"""A skill's archive as files on a host's disk.

Bug class this catches: a file outside the directory, a script that cannot be run, files that a sandbox could change.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from agents.skills.bundle import archived, bundle_of
from agents.skills.files import SkillFile
from agents.skills.unpacking import unpack

MD = b"---\nname: tidy\ndescription: d\n---\n"


def test_what_was_uploaded_is_there_without_its_top_directory(tmp_path: Path) -> None:
    files = [SkillFile("any/SKILL.md", MD), SkillFile("any/scripts/run", b"#!/bin/sh\n")]
    unpack(archived(bundle_of(files)), tmp_path / "tidy")
    assert (tmp_path / "tidy/SKILL.md").read_bytes() == MD
    assert (tmp_path / "tidy/SKILL.md").stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "tidy/scripts/run").stat().st_mode & 0o777 == 0o555


@pytest.mark.parametrize("path", ["a/../../x", "a//x", "x", "a/"])
def test_an_archive_that_somebody_has_changed_reaches_nothing(tmp_path: Path, path: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(path, b"x")
    with pytest.raises(ValueError, match="archive"):
        unpack(packed.getvalue(), tmp_path / "here" / "tidy")
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
