"""From an upload to a version of a skill: every rule that its files must keep, and the archive that is kept of them.

The archive is made anew from the files that were let in, and never a client's own: whoever unpacks it finds one
directory of the skill's name, plain files, two modes and no surprises. Equal files make equal archives.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.errors import InvalidRequest
from agents.skills.files import MOST_BYTES, MOST_FILES, PATH_CHARS, SEGMENT_BYTES, SkillFile
from agents.skills.frontmatter import FILE, checked_name, frontmatter_of
from agents.skills.zip_upload import unzipped

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip archive can tell: an archive is to say nothing of when it was made."""
_UNIX = 3
_PROGRAM, _PLAIN = 0o100755, 0o100644
_SCRIPT = b"#!"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A skill's content. Paths of ``files`` are relative to the skill's own directory, and sorted."""

    name: str
    description: str
    files: tuple[SkillFile, ...]


def bundle_of(uploads: Sequence[SkillFile]) -> Bundle:
    """Return the skill that was uploaded: files with their paths from one top directory on, or one zip of them.

    Blocks for as long as unpacking takes. Raises InvalidRequest.
    """
    if not uploads:
        raise InvalidRequest("files: required, but missing")
    if len(uploads) == 1 and uploads[0].path.lower().endswith(".zip"):
        files = unzipped(uploads[0].content)
    else:
        # A form tells no modes: what names its interpreter is meant to be run.
        files = [replace(each, executable=each.content.startswith(_SCRIPT)) for each in uploads]
    _check_size(files)
    top, inner = _below_top(files)
    skill_file = next((each for each in inner if each.path == FILE), None)
    if skill_file is None:
        raise InvalidRequest(f"files: there must be a {FILE} at the root of {top!r}")
    said = frontmatter_of(skill_file.content)
    return Bundle(checked_name(said.name or top), said.description, tuple(inner))


def archived(bundle: Bundle) -> bytes:
    """Return the zip archive of a skill: all files below one directory of its name. Blocks while it packs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in bundle.files:
            entry = zipfile.ZipInfo(f"{bundle.name}/{each.path}", _EPOCH)
            entry.create_system = _UNIX
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (_PROGRAM if each.executable else _PLAIN) << 16
            archive.writestr(entry, each.content)
    return packed.getvalue()


def _check_size(files: Sequence[SkillFile]) -> None:
    if len(files) > MOST_FILES:
        raise InvalidRequest(f"files: a skill may have {MOST_FILES} files, not {len(files)}")
    if sum(len(each.content) for each in files) > MOST_BYTES:
        raise InvalidRequest(f"files: a skill may have {MOST_BYTES} bytes, all its files together")


def _below_top(files: Sequence[SkillFile]) -> tuple[str, list[SkillFile]]:
    """Return the one top directory that all *files* are in, and the files as seen from it."""
    inner: dict[str, SkillFile] = {}
    tops: set[str] = set()
    for each in files:
        segments = _segments(each.path)
        if len(segments) < 2:
            raise InvalidRequest(f"files: {each.path[:200]!r} must be in a directory, the same for all files")
        tops.add(segments[0])
        path = "/".join(segments[1:])
        if path in inner:
            raise InvalidRequest(f"files: {path!r} is there twice")
        inner[path] = replace(each, path=path)
    if len(tops) != 1:
        raise InvalidRequest(f"files: must all be in one top directory, not in {len(tops)}")
    _check_no_file_is_a_directory(inner)
    return tops.pop(), [inner[path] for path in sorted(inner)]


def _segments(path: str) -> list[str]:
    if len(path) > PATH_CHARS:
        raise InvalidRequest(f"files: a path must have at most {PATH_CHARS} characters: {path[:100]!r}...")
    segments = path.removeprefix("./").split("/")
    for segment in segments:
        # A backslash is a separator to some who unpack: the same archive would be other files to them.
        hostile = segment in ("", ".", "..") or "\\" in segment or any(ord(each) < 32 for each in segment)
        if hostile or len(_encoded(segment, path)) > SEGMENT_BYTES:
            raise InvalidRequest(f"files: {path[:200]!r} is not a plain relative path")
    return segments


def _encoded(segment: str, path: str) -> bytes:
    try:
        return segment.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"files: {path[:200]!r} is not Unicode text") from None


def _check_no_file_is_a_directory(paths: dict[str, SkillFile]) -> None:
    for path in paths:
        above = path
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in paths:
                raise InvalidRequest(f"files: {above!r} is a file, and a directory of {path!r}")
