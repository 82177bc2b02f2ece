"""A skill's archive as files on a host's disk, for sandboxes to read."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

from agents.skills.files import MOST_BYTES

_PROGRAM, _PLAIN = 0o555, 0o444


def unpack(archive: bytes, directory: Path) -> None:
    """Write the files of an archive that ``bundle`` has made below *directory*, which is made and must not be there.

    Blocks. Raises ValueError for an archive that is not one of those, FileExistsError, OSError.
    """
    directory.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        entries = opened.infolist()
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise ValueError("a skill's archive has more bytes than a skill may have")
        for entry in entries:
            _, _, path = entry.filename.partition("/")
            place = directory / path
            # They were checked when they came; whoever could change the store is not to reach beyond it by that.
            if not path or ".." in path.split("/") or path.startswith("/"):
                raise ValueError(f"a skill's archive has an entry {entry.filename!r}")
            place.parent.mkdir(parents=True, exist_ok=True)
            mode = _PROGRAM if entry.external_attr >> 16 & stat.S_IXUSR else _PLAIN
            with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(opened.read(entry))
