"""A skill that is uploaded as one zip archive: its files, and nothing that an archive can hold beside files.

The archive is a stranger's. What it says of itself is checked before anything is unpacked, so that it costs no more
memory than its files may have together.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

from agents.errors import InvalidRequest
from agents.skills.files import MOST_BYTES, MOST_FILES, SkillFile

_END = b"PK\x05\x06"
_END_BYTES = 22
_DIRECTORY_BYTES_AT = 12
_LARGE_LOCATOR, _LARGE_LOCATOR_BYTES = b"PK\x06\x07", 20
_MOST_DIRECTORY_BYTES = 1024 * MOST_FILES
_UNIX = 3
_LEFT_OUT = "__MACOSX/"
"""What Finder puts beside the files: theirs, but no part of the skill."""
_FAULTS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error)
"""What ``zipfile`` raises for archives that are damaged, encrypted or packed in a way that it does not know."""


def unzipped(archive: bytes) -> list[SkillFile]:
    """Return the files of a zip archive, with the paths that it has them under. Raises InvalidRequest."""
    _check_directory(archive)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return list(_files(opened))
    except _FAULTS as fault:
        raise InvalidRequest(f"files: the zip archive cannot be read: {str(fault)[:200]}") from None


def _check_directory(archive: bytes) -> None:
    """Refuse an archive whose list of entries alone would fill the memory: it is read whole when one is opened."""
    end = archive.rfind(_END)
    if end < 0 or len(archive) - end < _END_BYTES:
        raise InvalidRequest("files: the zip archive cannot be read: it has no end record")
    (size,) = struct.unpack_from("<L", archive, end + _DIRECTORY_BYTES_AT)
    large = archive[max(end - _LARGE_LOCATOR_BYTES, 0) : end].startswith(_LARGE_LOCATOR)
    if large or size > _MOST_DIRECTORY_BYTES:
        raise InvalidRequest(f"files: the zip archive has more than {MOST_FILES} entries, or is a Zip64 archive")


def _files(opened: zipfile.ZipFile) -> Iterator[SkillFile]:
    entries = [entry for entry in opened.infolist() if not entry.filename.startswith(_LEFT_OUT)]
    if len(entries) > 2 * MOST_FILES:  # directories have entries, too
        raise InvalidRequest(f"files: the zip archive has more than {MOST_FILES} files")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise InvalidRequest(f"files: a skill may have {MOST_BYTES} bytes, all its files together")
    for entry in entries:
        mode = entry.external_attr >> 16 if entry.create_system == _UNIX else 0
        if entry.is_dir() or stat.S_ISDIR(mode):
            continue
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise InvalidRequest(f"files: {entry.filename[:200]!r} is a link or a device; a skill has plain files")
        # No more than ``file_size`` bytes are read, whatever the entry's data would unpack to.
        yield SkillFile(entry.filename, opened.read(entry), executable=bool(mode & 0o111))
